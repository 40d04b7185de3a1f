"""How soon a worker that waits has what another process queues: the queue, the notice and the line, as in control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final

from bench.queue.ours import LIMITS, SERVICES, ours_url
from fleetcast.builds.queue import QUEUED_CHANNEL, BuildQueue
from fleetcast.control.loops import regularly
from fleetcast.http.holding import Line
from fleetcast.model.build import BuildOrder, Recipe
from fleetcast.model.ids import CommitSha, ServiceName
from fleetcast.model.limits import CLAIM_WAIT_S_MAX
from fleetcast.stores.database import Database
from fleetcast.stores.notices import listen

OFFERED_PER_S: Final = 50.0
SETTLE_S: Final = 2.0
"""Until all workers wait."""
_POLL_S: Final = 5.0
_RECIPE: Final = Recipe(build="make", output="out")


@dataclass(frozen=True)
class Latencies:
    """From when a build was due to be queued, before its transaction, to a worker's having it, in milliseconds."""

    p50_ms: float
    p99_ms: float
    offered_per_s: float
    """What was really queued."""


async def latencies(url: str, workers: int, seconds: float) -> Latencies:
    """Builds are queued over connections of their own, at :data:`OFFERED_PER_S`; each claimed one is ended at once."""
    loop = asyncio.get_running_loop()
    orders, numbers = int(seconds * OFFERED_PER_S), count()
    queued_at: dict[str, float] = {}
    claimed_at: dict[str, float] = {}
    all_claimed = asyncio.Event()

    async with _queue_of_waiting(url) as (queue, line), _opened(url) as elsewhere:
        queuing = BuildQueue(elsewhere, LIMITS)

        async def work(name: str) -> None:
            while True:
                claim = await line.hold(lambda: queue.claim(name), wait_s=CLAIM_WAIT_S_MAX)
                if claim is not None:
                    claimed_at[claim.build.commit_sha] = loop.time()
                    if len(claimed_at) == orders:
                        all_claimed.set()
                    await queue.fail(claim.build.id, claim.token, "done")

        async def queue_at(at: float) -> None:
            number = next(numbers)
            commit = CommitSha(f"{number:040x}")
            await asyncio.sleep(at - loop.time())
            queued_at[commit] = at  # and not when we came to it: whatever makes us late counts
            order = BuildOrder(ServiceName(f"service-{number % SERVICES}"), commit, "/repository", "main", _RECIPE, 1)
            async with elsewhere.transaction() as tx:
                await queuing.enqueue(tx, order)

        working = [asyncio.create_task(work(f"worker-{number}")) for number in range(workers)]
        try:
            await asyncio.sleep(SETTLE_S)
            start = loop.time()
            await asyncio.gather(*(queue_at(start + number / OFFERED_PER_S) for number in range(orders)))
            took_s = loop.time() - start
            async with asyncio.timeout(seconds + CLAIM_WAIT_S_MAX):
                await all_claimed.wait()
        finally:
            for each in working:
                each.cancel()
            await asyncio.gather(*working, return_exceptions=True)
    waits = sorted((claimed_at[commit] - at) * 1000 for commit, at in queued_at.items())
    return Latencies(waits[len(waits) // 2], waits[int(len(waits) * 0.99)], (orders - 1) / took_s)


@asynccontextmanager
async def _queue_of_waiting(url: str) -> AsyncIterator[tuple[BuildQueue, Line]]:
    """What control has for workers that wait: one listener and one look for all of them."""
    line, stop = Line(), asyncio.Event()
    async with _opened(url) as database:
        queue = BuildQueue(database, LIMITS, on_queued=line.ring)

        async def look() -> None:
            if await queue.waits():
                line.ring()

        loops = [
            asyncio.create_task(listen(ours_url(url), QUEUED_CHANNEL, line.ring, stop)),
            asyncio.create_task(regularly("queue", look, _POLL_S, stop)),
        ]
        try:
            yield queue, line
        finally:
            stop.set()
            await asyncio.gather(*loops)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = await Database.open(ours_url(url))
    try:
        yield database
    finally:
        await database.close()
