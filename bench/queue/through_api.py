"""What the workers of a company see: claims through the API, of builds that are ordered at another control process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

from bench.queue.contestant import Cycle
from bench.queue.controls import SERVICES, Controls, add_services
from bench.queue.ours import Fleetcast
from bench.queue.rate import WARM_S, repeated
from fleetcast.client.control import ControlClient
from fleetcast.model.ids import CommitSha
from fleetcast.model.limits import CLAIM_WAIT_S_MAX
from fleetcast.model.messages.artifacts import BuildRequest

OFFERED_PER_S: Final = 50.0
CYCLES_PER_S_MAX: Final = 1000
"""So many builds wait for each second that cycles through the API are counted."""
SETTLE_S: Final = 3.0
"""Until all workers wait."""
_DONE: Final = "done"


@dataclass(frozen=True)
class Latencies:
    """From the order's begin to the claim's answer, in milliseconds."""

    p50_ms: float
    p99_ms: float
    offered_per_s: float
    """What was really ordered."""


class _Commits:
    """No commit twice, so that each order is a build of its own."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def next(self) -> tuple[int, CommitSha]:
        number = next(self._numbers)
        return number, CommitSha(f"{number:040x}")


async def measure(
    controls: Controls, callers: int, seconds: float, queries: Callable[[float], Awaitable[float]]
) -> tuple[float, Latencies, float]:
    """What ``queries`` counts in so many seconds in which no worker has work; how soon workers have what is ordered; cycles
    per second of as many workers that never wait."""
    commits = _Commits()
    async with controls.admin() as admin, controls.workers(callers) as workers:
        await add_services(admin)
        idle_per_s = await _idle(workers, seconds, queries)
        latencies = await _latencies(admin, workers, seconds, commits)
        await Fleetcast().add_waiting(controls.database_url, int((seconds + WARM_S) * CYCLES_PER_S_MAX))
        cycles_per_s = await repeated([_cycle(worker, f"worker-{number}") for number, worker in enumerate(workers)], seconds)
    return idle_per_s, latencies, cycles_per_s


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


async def _latencies(admin: ControlClient, workers: list[ControlClient], seconds: float, commits: _Commits) -> Latencies:
    ordered_at: dict[str, float] = {}
    claimed_at: dict[str, float] = {}
    loop = asyncio.get_running_loop()
    orders, all_claimed = int(seconds * OFFERED_PER_S), asyncio.Event()

    async def work(worker: ControlClient, name: str) -> None:
        while True:
            claimed = await worker.claim(name, CLAIM_WAIT_S_MAX)
            if claimed is not None:
                claimed_at[claimed.commit_sha] = loop.time()
                if len(claimed_at) == orders:
                    all_claimed.set()
                await worker.fail(claimed.build, claimed.token, _DONE)

    async def order(at: float) -> None:
        number, commit = commits.next()
        await asyncio.sleep(at - loop.time())
        ordered_at[commit] = loop.time()
        await admin.order_build(BuildRequest(SERVICES[number % len(SERVICES)], commit))

    working = [asyncio.create_task(work(worker, f"worker-{number}")) for number, worker in enumerate(workers)]
    await asyncio.sleep(SETTLE_S)
    start = loop.time()
    await asyncio.gather(*(order(start + number / OFFERED_PER_S) for number in range(orders)))
    took_s = max(ordered_at.values()) - start
    async with asyncio.timeout(seconds + CLAIM_WAIT_S_MAX):
        await all_claimed.wait()
    for each in working:
        each.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    waits = sorted((claimed_at[commit] - at) * 1000 for commit, at in ordered_at.items())
    return Latencies(waits[len(waits) // 2], waits[int(len(waits) * 0.99)], (orders - 1) / took_s)


def _cycle(worker: ControlClient, name: str) -> Cycle:
    async def cycle() -> bool:
        claimed = await worker.claim(name, 0.0)
        if claimed is None:
            return False
        await worker.heartbeat(claimed.build, claimed.token)
        await worker.fail(claimed.build, claimed.token, _DONE)
        return True

    return cycle
