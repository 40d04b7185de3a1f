"""The row of a release that whoever deploys it and whoever collects it lock, so that each knows what the other decided."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.ids import Digest
from fleetcast.model.retention import Collection
from fleetcast.schema.tables import artifacts, releases
from fleetcast.schema.upsert import insert_into


async def lock_releases(tx: AsyncConnection, digests: Iterable[Digest]) -> None:
    """Until ``tx`` ends nobody else decides about these releases. Rows are made where there are none.

    Take it before rows of ``artifacts``, and all at once.
    """
    wanted = sorted(set(digests))
    if not wanted:
        return
    rows = [{"digest": digest, "deployable": False} for digest in wanted]
    await tx.execute(insert_into(tx, releases).on_conflict_do_nothing(index_elements=["digest"]), rows)
    await tx.execute(
        select(releases.c.digest).where(releases.c.digest.in_(wanted)).order_by(releases.c.digest).with_for_update()
    )


async def in_main_store(reading: AsyncConnection, digest: Digest) -> bool:
    """Whether the main store has it, and keeps it: of several artifacts with equal files one is enough."""
    kept = select(artifacts.c.id).where(artifacts.c.digest == digest, artifacts.c.collection == Collection.KEPT).limit(1)
    return (await reading.execute(kept)).first() is not None
