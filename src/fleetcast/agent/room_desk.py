"""Room on the machine's disk is promised before anything is fetched, so that services which fetch at once do not overrun it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from fleetcast.agent.room import Demand, Space, fits, room_bytes, shortage_bytes
from fleetcast.model.limits import ROOM_LOOK_S
from fleetcast.stores.occupied import disk_bytes


class RoomDesk:
    """One for all services of a machine. ``on_short`` is called, in the event loop, when somebody begins to wait for room."""

    def __init__(self, root: Path, free_percent: int) -> None:
        """``root``: any directory of the file system; ``free_percent`` of it are never given away."""
        self._root = root
        self._free_percent = free_percent
        self._promised: dict[Path, Demand] = {}
        self._waiting: dict[Path, Demand] = {}
        self._turn = asyncio.Lock()
        self._seen = 0
        self._looked_at = -float(ROOM_LOOK_S)
        self.on_short: list[Callable[[], None]] = []

    @contextlib.asynccontextmanager
    async def promised(self, directory: Path, needs_bytes: int, short: Callable[[Demand, int], None]) -> AsyncIterator[None]:
        """Wait until there is room for a release in ``directory``, and keep it for the block, in which it is filled.

        ``short`` is told, again and again, what is asked for and how much there is. What the directory has already is not
        asked for.
        """
        try:
            while (missing := await self._ask(directory, needs_bytes)) is not None:
                short(*missing)
                await asyncio.sleep(ROOM_LOOK_S)
            yield
        finally:
            self._waiting.pop(directory, None)
            self._promised.pop(directory, None)

    def waits(self, directory: Path) -> bool:
        """Whether a release that is to come there waits for room."""
        return directory in self._waiting

    async def short_bytes(self) -> int:
        """How much there should be removed, if it can be done without."""
        async with self._turn:
            if time.monotonic() - self._looked_at >= ROOM_LOOK_S:
                await self._look()
            return shortage_bytes(self._seen, self._waiting.values())

    async def _ask(self, directory: Path, needs_bytes: int) -> tuple[Demand, int] | None:
        """``None``: it is promised."""
        async with self._turn:
            demand = Demand(needs_bytes, await asyncio.to_thread(disk_bytes, directory))
            await self._look()
            if fits(demand, self._seen):
                self._waiting.pop(directory, None)
                self._promised[directory] = demand
                self._seen -= demand.outstanding_bytes
                return None
            new, room = directory not in self._waiting, self._seen
            self._waiting[directory] = demand
        for listener in self.on_short if new else ():
            listener()
        return demand, room

    async def _look(self) -> None:
        """What was promised and has come by now is no longer free either: both are looked at together."""
        for directory, promise in list(self._promised.items()):
            has_bytes = await asyncio.to_thread(disk_bytes, directory)
            if directory in self._promised:
                self._promised[directory] = Demand(promise.needs_bytes, has_bytes)
        found = os.statvfs(self._root)
        space = Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
        self._seen = room_bytes(space, self._free_percent, self._promised.values())
        self._looked_at = time.monotonic()
