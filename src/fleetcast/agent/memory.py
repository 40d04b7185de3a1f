"""The state of one service in memory, which is never ahead of the file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from fleetcast.agent import records
from fleetcast.agent.state import ServiceState
from fleetcast.agent.uninterrupted import to_the_end


class ServiceMemory:
    """Changes come one after another, each on the state that the one before left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = asyncio.Lock()
        self.state = records.read(path, ServiceState) or ServiceState()

    async def change(self, change: Callable[[ServiceState], ServiceState]) -> None:
        """Replace the state by what ``change`` makes of it; durable when this returns. A cancellation waits for it.

        Raises:
            OSError: it cannot be written; nothing has changed.
        """
        await to_the_end(self._change(change))

    async def _change(self, change: Callable[[ServiceState], ServiceState]) -> None:
        async with self._turn:
            state = change(self.state)
            if state != self.state:
                await asyncio.to_thread(records.write, self._path, state)
                self.state = state
