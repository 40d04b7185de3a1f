"""Logs of ended builds: out of SQL into the main store, one blob each.

A log is many rows while it grows, and nobody's any more once its build has ended: then no attempt holds it. The blob is there
before the rows go, in one transaction with the word that it is, so a reader finds the one or the other. A process that dies in
between puts the same blob again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy import delete, exists, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.ids import BuildId
from fleetcast.schema.tables import build_log, build_log_blobs, jobs
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.database import Database

log = structlog.get_logger(__name__)

_AT_ONCE_MAX: Final = 20
"""Logs in one turn; each of them is in memory once."""


def log_key(build: BuildId) -> str:
    return f"logs/{build}"


async def kept_bytes(reading: AsyncConnection, build: BuildId) -> int | None:
    """How long the blob of a build's log is; ``None``: the log is in ``build_log``."""
    found: int | None = (
        await reading.execute(select(build_log_blobs.c.size).where(build_log_blobs.c.build_id == build))
    ).scalar_one_or_none()
    return found


async def move_logs(database: Database, store: BlobStore) -> None:
    """Move the logs of builds that have ended, some at a time, and drop the blobs of builds that are forgotten.

    Safe to run many times at once.
    """
    async with database.reading() as reading:
        lines = exists().where(build_log.c.build_id == jobs.c.id)
        ended = select(jobs.c.id).where(jobs.c.finished_at.is_not(None), lines).order_by(jobs.c.finished_at).limit(_AT_ONCE_MAX)
        done = [BuildId(build) for build in (await reading.execute(ended)).scalars()]
        known = exists().where(jobs.c.id == build_log_blobs.c.build_id)
        orphans = select(build_log_blobs.c.build_id).where(~known).limit(_AT_ONCE_MAX)
        gone = [BuildId(build) for build in (await reading.execute(orphans)).scalars()]
    for build in done:
        await _move(database, store, build)
    await _drop(database, store, gone)


async def _move(database: Database, store: BlobStore, build: BuildId) -> None:
    async with database.reading() as reading:
        pieces = select(build_log.c.text).where(build_log.c.build_id == build).order_by(build_log.c.start)
        text = "".join((await reading.execute(pieces)).scalars()).encode()
    if not text:
        return  # another process was sooner
    await store.put(log_key(build), text)
    async with database.transaction() as tx:
        # The row is locked: of two that move a log the second finds it done, and forgetting the build comes before or after.
        locked = select(jobs.c.id).where(jobs.c.id == build).with_for_update()
        if (await tx.execute(locked)).one_or_none() is None or await kept_bytes(tx, build) is not None:
            return
        await tx.execute(insert(build_log_blobs).values(build_id=build, size=len(text)))
        await tx.execute(delete(build_log).where(build_log.c.build_id == build))
    log.info("build_log_moved", build=build, size=len(text))


async def _drop(database: Database, store: BlobStore, builds: Sequence[BuildId]) -> None:
    for build in builds:
        await store.delete(log_key(build))
        async with database.transaction() as tx:
            await tx.execute(delete(build_log_blobs).where(build_log_blobs.c.build_id == build))
