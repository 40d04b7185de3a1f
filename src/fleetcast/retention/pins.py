"""Artifacts that people want kept."""

from __future__ import annotations

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.errors import NotFound, Refused
from fleetcast.model.event import EventKind
from fleetcast.model.ids import ArtifactName, Digest
from fleetcast.schema.events import record_event
from fleetcast.schema.release_locks import in_main_store, lock_releases
from fleetcast.schema.tables import artifacts
from fleetcast.stores.database import now_ms

log = structlog.get_logger(__name__)


async def pin(tx: AsyncConnection, name: ArtifactName, *, pinned: bool) -> None:
    """Keep an artifact wherever it is, or leave it to the rules again.

    Raises:
        NotFound: no such artifact.
        Refused: it was collected already.
    """
    row = (await tx.execute(select(artifacts).where(artifacts.c.name == name))).one_or_none()
    if row is None:
        raise NotFound("unknown_artifact", f"there is no artifact {name}: fleetcast artifact list shows those there are")
    await lock_releases(tx, [Digest(row.digest)])
    if pinned and not await in_main_store(tx, Digest(row.digest)):
        again = f"fleetcast build {row.service}@{row.commit_sha} --rebuild builds it again"
        raise Refused("artifact_collected", f"{name} was collected ({row.collected_why}): {again}")
    if pinned is (row.pinned_at is not None):
        return
    await tx.execute(update(artifacts).where(artifacts.c.id == row.id).values(pinned_at=now_ms() if pinned else None))
    kind = EventKind.ARTIFACT_PINNED if pinned else EventKind.ARTIFACT_UNPINNED
    record_event(tx, kind, name, service=row.service)
    log.info("artifact_pinned" if pinned else "artifact_unpinned", artifact=name)
