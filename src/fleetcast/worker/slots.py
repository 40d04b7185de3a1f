"""The slots of a worker: each claims, attempts, and claims again, by itself; their number may change while they work."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from fleetcast.client.builds import Builds
from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import WORKER_BACKOFF_S_MAX
from fleetcast.model.messages.builds import ClaimedBuild
from fleetcast.stores.obstacles import obstacle
from fleetcast.worker.attempt import Attempt
from fleetcast.worker.backoff import delay_s
from fleetcast.worker.config import WorkerConfig

log = structlog.get_logger(__name__)

Begin = Callable[[int, ClaimedBuild], Attempt]
"""Makes the attempt of a slot at what it claimed. Raises :class:`OSError`."""


@dataclass(slots=True)
class Slot:
    """One build at a time."""

    number: int
    retiring: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: it claims no more. What it has claimed it carries out."""
    build: ClaimedBuild | None = None
    """That it is at."""


class Slots:
    """Ask for builds, up to so many at a time, until told to stop."""

    def __init__(self, config: WorkerConfig, builds: Builds, begin: Begin, rng: random.Random) -> None:
        self._config = config
        self._builds = builds
        self._begin = begin
        self._rng = rng
        self._slots: dict[int, Slot] = {}
        self._group = asyncio.TaskGroup()
        self._now = asyncio.Event()
        self._stopping = False

    @property
    def count(self) -> int:
        """Slots that claim builds."""
        return sum(not slot.retiring.is_set() for slot in self._slots.values())

    @property
    def busy(self) -> int:
        return sum(slot.build is not None for slot in self._slots.values())

    async def run(self, stop: asyncio.Event, hand_back: asyncio.Event) -> None:
        """Until ``stop``, and then until every build is finished, or handed back once ``hand_back`` is set."""
        self._now = hand_back
        async with self._group:
            self.scale_to(self._config.slots if self._config.scale is None else self._config.scale.least)
            await stop.wait()
            self._stopping = True
            for slot in self._slots.values():
                slot.retiring.set()

    def scale_to(self, count: int) -> None:
        """Have so many slots. Those that are too many end when they have finished what they are at. Once :meth:`run` was told
        to stop, nothing happens."""
        if self._stopping:
            return
        claiming = [slot for slot in self._slots.values() if not slot.retiring.is_set()]
        # Idle ones first: they end at once.
        for slot in sorted(claiming, key=lambda slot: (slot.build is not None, -slot.number))[: max(0, len(claiming) - count)]:
            slot.retiring.set()
        for _ in range(count - len(claiming)):
            number = next(number for number in range(len(self._slots) + 1) if number not in self._slots)
            self._slots[number] = slot = Slot(number)
            self._group.create_task(self._work(slot))

    async def _work(self, slot: Slot) -> None:
        loop = asyncio.get_running_loop()
        failures = handed_back = 0
        try:
            while not slot.retiring.is_set():
                asked_at = loop.time()
                try:
                    claimed = await self._claim(slot)
                    failures = 0
                except FleetcastError as error:
                    failures += 1
                    wait_s = delay_s(failures, self._rng, WORKER_BACKOFF_S_MAX)
                    log.warning("claim_failed", slot=slot.number, reason=error.message, again_in_s=round(wait_s, 1))
                    await wait(slot.retiring, wait_s)
                    continue
                if claimed is None:
                    await wait(slot.retiring, asked_at + self._config.poll_interval_s - loop.time())
                    continue
                # What is in the way here, a full disk or a network that is away, may be over when it is tried again.
                handed_back = handed_back + 1 if await self._attempt(slot, claimed) else 0
                if handed_back:
                    await wait(slot.retiring, delay_s(handed_back, self._rng, WORKER_BACKOFF_S_MAX))
        finally:
            del self._slots[slot.number]

    async def _claim(self, slot: Slot) -> ClaimedBuild | None:
        """``None`` also when told to stop. A claim that control answers at that very moment is one that it hands back."""
        claiming = asyncio.create_task(self._builds.claim(self._config.name, self._config.claim_wait_s))
        stopping = asyncio.create_task(slot.retiring.wait())
        try:
            await asyncio.wait({claiming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return claiming.result() if claiming.done() else None
        finally:
            for task in (claiming, stopping):
                task.cancel()
            await asyncio.gather(claiming, stopping, return_exceptions=True)

    async def _attempt(self, slot: Slot, claimed: ClaimedBuild) -> bool:
        """Whether this worker was in the way."""
        slot.build = claimed
        try:
            return await self._begin(slot.number, claimed).run(self._now)
        except OSError as error:
            return await self._not_begun(claimed, f"this worker failed: {obstacle(error).message}")
        except FleetcastError as error:
            # Of this machine: the reaper gives the build to somebody else.
            log.error("attempt_broke", build=claimed.build, error=str(error))
            return True
        finally:
            slot.build = None

    async def _not_begun(self, claimed: ClaimedBuild, reason: str) -> bool:
        log.error("attempt_not_begun", build=claimed.build, reason=reason)
        with contextlib.suppress(FleetcastError):  # untold: the reaper decides
            await self._builds.fail(claimed.build, claimed.token, reason, hand_back=True)
        return True


async def wait(stop: asyncio.Event, seconds: float) -> None:
    """Until ``stop``, at most ``seconds``."""
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await stop.wait()
    except TimeoutError:
        return
