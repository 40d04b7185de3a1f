"""What the workers of a company see: claims through the API, by as many clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from bench.queue.a_control import Control
from bench.queue.contestant import Cycle
from bench.queue.ours import Fleetcast
from bench.queue.rate import WARM_S, repeated
from fleetcast.client.control import ControlClient
from fleetcast.model.limits import CLAIM_WAIT_S_MAX

CYCLES_PER_S_MAX: Final = 1000
"""So many builds wait for each second that cycles through the API are counted."""
SETTLE_S: Final = 3.0
"""Until all workers wait."""
_DONE: Final = "done"


async def measure(
    control: Control, callers: int, seconds: float, queries: Callable[[float], Awaitable[float]]
) -> tuple[float, float]:
    """What ``queries`` counts in so many seconds in which no worker has work; cycles per second of as many workers that never
    wait."""
    async with control.workers(callers) as workers:
        idle_per_s = await _idle(workers, seconds, queries)
        await Fleetcast().add_waiting(control.database_url, int((seconds + WARM_S) * CYCLES_PER_S_MAX))
        cycles_per_s = await repeated([_cycle(worker, f"worker-{number}") for number, worker in enumerate(workers)], seconds)
    return idle_per_s, cycles_per_s


async def _idle(workers: list[ControlClient], seconds: float, queries: Callable[[float], Awaitable[float]]) -> float:
    waiting = [asyncio.create_task(_wait(worker, f"worker-{number}")) for number, worker in enumerate(workers)]
    await asyncio.sleep(SETTLE_S)
    counted = await queries(seconds)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return counted


async def _wait(worker: ControlClient, name: str) -> None:
    while True:
        await worker.claim(name, CLAIM_WAIT_S_MAX)


def _cycle(worker: ControlClient, name: str) -> Cycle:
    async def cycle() -> bool:
        claimed = await worker.claim(name, 0.0)
        if claimed is None:
            return False
        await worker.heartbeat(claimed.build, claimed.token)
        await worker.fail(claimed.build, claimed.token, _DONE)
        return True

    return cycle
