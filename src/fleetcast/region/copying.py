"""The loop that keeps the region's bucket filled with every artifact that the regional store names."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from random import Random

import structlog

from fleetcast.model.artifact import ArtifactRecord
from fleetcast.model.errors import FleetcastError
from fleetcast.model.ids import Digest
from fleetcast.model.limits import COPY_FAILING_S_MAX
from fleetcast.model.replication import CopyProgress
from fleetcast.region.copy_bases import bases
from fleetcast.region.copy_schedule import CopySchedule
from fleetcast.region.copy_turns import CopyTurns
from fleetcast.region.view import RegionView
from fleetcast.replication.copier import Copier
from fleetcast.stores.obstacles import obstacle

log = structlog.get_logger(__name__)


class Copying:
    """Attempts copies as :class:`CopySchedule` says."""

    def __init__(
        self,
        view: RegionView,
        copier: Copier,
        recheck_interval_s: float,
        rng: Random,
        failing_s_max: float = COPY_FAILING_S_MAX,
    ) -> None:
        """``failing_s_max``: after so long without success a copy counts as given up; it is attempted on."""
        self._view = view
        self._copier = copier
        self._rng = rng
        self._schedule = CopySchedule(recheck_interval_s, failing_s_max)
        self._records: dict[Digest, tuple[ArtifactRecord, ...]] = {}
        self._look = asyncio.Event()
        self.turns = CopyTurns()
        """Taken by whoever deletes a copy, too."""
        view.on_records.append(self._records_changed)

    def is_complete(self, digest: Digest) -> bool:
        """Whether both blobs were in the bucket when it was looked at last."""
        return self._schedule.is_complete(digest)

    def progress(self) -> tuple[CopyProgress, ...]:
        """Of every copy that is not complete."""
        return self._schedule.progress(time.monotonic())

    def demanded(self, digest: Digest) -> None:
        """Attempt it now: somebody asks for it."""
        self._schedule.demanded(digest, time.monotonic())
        self._look.set()

    async def run(self) -> None:
        """Copy until cancelled; attempts under way are cancelled too, and go on from there after the next start."""
        self._records_changed()
        async with asyncio.TaskGroup() as attempts:
            while True:
                self._look.clear()
                for digest in self._schedule.start_due(time.monotonic()):
                    attempts.create_task(self._attempt(digest, self._records[digest]), name=f"copy {digest[:12]}")
                await self._until_due()

    def _records_changed(self) -> None:
        self._records = self._view.artifacts()
        self._schedule.want({digest: records[0].content_size for digest, records in self._records.items()})
        self._look.set()

    async def _until_due(self) -> None:
        due_at = self._schedule.next_due_at()
        pause_s = None if due_at is None else max(0.0, due_at - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._look.wait()

    async def _attempt(self, digest: Digest, records: tuple[ArtifactRecord, ...]) -> None:
        # Several roots may name one artifact; should one of them be bad, the next attempt takes another.
        record = records[self._schedule.failures(digest) % len(records)]
        try:
            older = bases(record.release, (held for of_one in self._records.values() for held in of_one))
            async with self.turns.copying(digest):
                await self._copier.copy(record, partial(self._schedule.progressed, digest), older)
        except FleetcastError as error:
            log.warning("copy_failed", artifact=record.release.artifact, digest=digest, error=error.message)
            self._schedule.failed(digest, error.message, time.monotonic(), self._rng)
        except OSError as error:
            message = obstacle(error).message
            log.warning("copy_failed", artifact=record.release.artifact, digest=digest, error=message)
            self._schedule.failed(digest, message, time.monotonic(), self._rng)
        except Exception:
            # One artifact that trips a defect must not take the others' copies, and the region, down with it.
            log.exception("copy_broke", artifact=record.release.artifact, digest=digest)
            self._schedule.failed(digest, "the copier broke: the region's log says why", time.monotonic(), self._rng)
        else:
            self._schedule.finished(digest, time.monotonic(), self._rng)
        self._look.set()
