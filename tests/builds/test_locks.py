"""Nobody waits for somebody who waits for him: several builds are changed in any order, beside callers that come together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fleetcast.builds.queue import BuildQueue, Claim, QueueLimits
from fleetcast.model.build import BuildOrder, Recipe
from fleetcast.model.errors import Stale
from fleetcast.model.ids import CommitSha, ServiceName
from fleetcast.stores.database import Database
from lock_waits import SOON_S, until_somebody_waits

LIMITS = QueueLimits(attempts_max=3, queued_s_max=7200, silence_s_max=600)


async def _fail(queue: BuildQueue, claim: Claim) -> None:
    await queue.fail(claim.build.id, claim.token, "make: exit 2")


async def _heartbeat(queue: BuildQueue, claim: Claim) -> None:
    await queue.heartbeat(claim.build.id, claim.token)


async def _claimed(database: Database, queue: BuildQueue, count: int) -> list[Claim]:
    async with database.transaction() as tx:
        for number in range(count):
            commit = CommitSha(f"{number:040x}")
            await queue.enqueue(tx, BuildOrder(ServiceName("web"), commit, "/repo", "main", Recipe(build="make"), 1))
    claims = await asyncio.gather(*(queue.claim(f"worker-{number}") for number in range(count)))
    return sorted((claim for claim in claims if claim is not None), key=lambda claim: claim.build.id)


@pytest.mark.parametrize("call", [_fail, _heartbeat])
async def test_who_stops_the_last_build_first_beside_calls_about_both(
    server_database: Database, call: Callable[[BuildQueue, Claim], Coroutine[Any, Any, None]]
) -> None:
    queue = BuildQueue(server_database, LIMITS)
    first, last = await _claimed(server_database, queue, 2)
    async with asyncio.timeout(SOON_S):
        async with server_database.transaction() as tx:
            assert await queue.stop(tx, last.build.id, "overtaken")
            # These two share a transaction, which wants both builds.
            calls = [asyncio.create_task(call(queue, claim)) for claim in (first, last)]
            await until_somebody_waits(server_database)
            assert await queue.stop(tx, first.build.id, "overtaken")
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Stale, Stale]
