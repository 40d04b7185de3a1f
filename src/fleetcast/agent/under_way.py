"""What a service's loop keeps an eye on: work beside it, and how often its process went down."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from fleetcast.agent.gate import Instance
from fleetcast.model.limits import RESTART_STABLE_S
from fleetcast.stores import boots

T = TypeVar("T")


class UnderWay(Generic[T]):
    """A task, and what it was started for."""

    def __init__(self, order: T, task: asyncio.Task[None]) -> None:
        self.order = order
        self.task = task

    @property
    def over(self) -> bool:
        return self.task.done()

    async def end(self) -> None:
        """Cancel it and wait until it is gone; nothing happens when it has ended by itself."""
        self.task.cancel()
        await asyncio.wait({self.task})


class Trouble:
    """What keeps a kind of work from going on."""

    def __init__(self) -> None:
        self.failures = 0
        """In a row."""
        self.text = ""

    def over(self) -> None:
        """It went well."""
        self.failures, self.text = 0, ""

    def note(self, error: Exception) -> None:
        """It failed once more."""
        self.failures += 1
        self.text = str(error) or type(error).__name__


class Deaths:
    """Deaths in a row of the processes of one change-over. Who is not healthy any more counts as dead."""

    def __init__(self) -> None:
        self.count = 0
        self.since_ms = 0
        """Uptime at which the newest one was noticed."""
        self._instance = ""
        self._activation = ""

    def note(self, instance: Instance, well_ms: int | None = None) -> None:
        """This one is down. Saying it again changes nothing. ``well_ms``: how long it had been well; ``None``: it ran."""
        if instance.id == self._instance:
            return
        now_ms = boots.uptime_ms()
        lived_ms = now_ms - instance.started_ms if well_ms is None else well_ms
        if instance.process.boot != boots.boot():
            # It went down with the machine: start again without delay.
            self.count = 0
        elif instance.activation != self._activation or lived_ms >= RESTART_STABLE_S * 1000:
            self.count = 1
        else:
            self.count += 1
        self._instance, self._activation, self.since_ms = instance.id, instance.activation, now_ms

    def lately(self, activation: str) -> int:
        """Of the processes of this change-over, unless the newest one has lived for ``RESTART_STABLE_S`` by now."""
        if activation != self._activation or boots.uptime_ms() - self.since_ms >= RESTART_STABLE_S * 1000:
            return 0
        return self.count
