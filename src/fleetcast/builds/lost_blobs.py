"""What attempts had completed in the main store when they lost their build, and nobody will ever name.

A commit completes its uploads before it says so in SQL: where control dies in between, or another attempt holds the build by
then, two blobs are left that look like everybody else's. An attempt never gets its build back, so they can go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

import structlog
from sqlalchemy import and_, or_, select

from fleetcast.builds.claiming import LIVE
from fleetcast.model.build import BuildStatus
from fleetcast.model.limits import LOST_BLOBS_AGAIN_S, LOST_BLOBS_LOOK_BACK_S
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.tables import jobs
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.database import Database, now_ms

log = structlog.get_logger(__name__)

BLOBS: Final = ("content", "manifest")


class LostBlobs:
    """For one loop. Safe to run in several processes at once."""

    def __init__(self, database: Database, main: BlobStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._main = main
        self._clock = clock
        self._seen_at: dict[tuple[int, int], float] = {}

    async def sweep(self) -> int:
        """Delete blobs of attempts that were lost within ``LOST_BLOBS_LOOK_BACK_S``, again while a commit of one may be
        under way. How many there were."""
        now, gone = self._clock(), 0
        lost = {attempt for row in await self._suspects() for attempt in _lost(row)}
        self._seen_at = {attempt: self._seen_at.get(attempt, now) for attempt in lost}
        for (build, attempt), seen_at in self._seen_at.items():
            if seen_at != now and now - seen_at > LOST_BLOBS_AGAIN_S:
                continue
            for blob in BLOBS:
                key = f"builds/{build}/{attempt}/{blob}"
                if await self._main.stat(key) is not None:
                    log.info("lost_blob_dropped", key=key)
                    await self._main.delete(key)
                    gone += 1
        return gone

    async def _suspects(self) -> tuple[AnyRow, ...]:
        """Builds of which an attempt was lost, as far as that can have happened lately."""
        lately = or_(LIVE, jobs.c.finished_at > now_ms() - LOST_BLOBS_LOOK_BACK_S * 1000)
        without_result = and_(jobs.c.attempt > 0, jobs.c.status.in_((BuildStatus.QUEUED, BuildStatus.FAILED)))
        async with self._database.reading() as reading:
            found = select(jobs.c.id, jobs.c.attempt, jobs.c.status).where(lately, or_(jobs.c.attempt > 1, without_result))
            return tuple((await reading.execute(found)).all())


def _lost(row: AnyRow) -> Iterator[tuple[int, int]]:
    """All attempts but one that holds the build or has ended it well."""
    kept = row.status in (BuildStatus.RUNNING, BuildStatus.SUCCEEDED)
    return ((row.id, attempt) for attempt in range(1, row.attempt + (not kept)))
