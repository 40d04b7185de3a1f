"""Cycles per second by callers who do nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bench.queue.contestant import Contestant, Cycle
from lab.errors import LabError

WARM_S = 2.0


async def rate(contestant: Contestant, url: str, callers: int, seconds: float) -> float:
    """Raises :class:`LabError` when the jobs run out meanwhile: then waiting was measured."""
    async with contestant.callers(url, callers) as cycles:
        return await repeated(cycles, seconds)


async def repeated(cycles: Sequence[Cycle], seconds: float) -> float:
    """All of them at once, each again and again, for so long after a while in which nothing counts. Raises as :func:`rate`."""
    counted = _Count(asyncio.get_running_loop().time() + WARM_S, seconds)
    async with asyncio.TaskGroup() as group:
        for cycle in cycles:
            group.create_task(counted.repeat(cycle))
    return counted.cycles / seconds


class _Count:
    """Cycles that end within ``seconds`` from ``start`` on (of the loop's clock)."""

    def __init__(self, start: float, seconds: float) -> None:
        self.cycles = 0
        self._start = start
        self._end = start + seconds

    async def repeat(self, cycle: Cycle) -> None:
        now = asyncio.get_running_loop().time
        while now() < self._end:
            if not await cycle():
                raise LabError("the jobs ran out: add more")
            self.cycles += self._start <= now() < self._end
