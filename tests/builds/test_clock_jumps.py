"""The database's clock jumps: no build is lost, or built twice, and none lives for ever.

A jump by so much is everything so far having happened so much earlier, and the steady clock not having moved.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import update

from fleetcast.builds.queue import BuildQueue, QueueLimits
from fleetcast.model.build import BuildStatus
from fleetcast.model.ids import BuildId
from fleetcast.schema.tables import jobs
from fleetcast.stores.database import Database
from jumps import JUMPS, Steady

LIMITS = QueueLimits(attempts_max=3, queued_s_max=7200, silence_s_max=600, running_s_max=1800)
Enqueue = Callable[..., Awaitable[BuildId]]
Passed = Callable[[BuildId, float], Awaitable[None]]


@pytest.mark.parametrize("jump_s", JUMPS)
async def test_builds_that_wait_and_builds_that_run_go_on(
    database: Database, enqueue: Enqueue, passed: Passed, jump_s: int
) -> None:
    steady = Steady()
    queue = BuildQueue(database, LIMITS, steady=steady)
    running, waiting = await enqueue("a"), await enqueue("b")
    claim = await queue.claim("w1")
    assert claim is not None
    assert await queue.reap() == ()

    for build in (running, waiting):
        await passed(build, jump_s)
    steady.s -= jump_s
    assert await queue.reap() == ()
    await queue.heartbeat(running, claim.token)
    async with database.transaction() as tx:
        await queue.succeed(tx, running, claim.token, "blob")
    second = await queue.claim("w2")
    assert second is not None
    assert (second.build.id, second.build.attempt) == (waiting, 1)
    assert await queue.claim("w3") is None


@pytest.mark.parametrize("jump_s", JUMPS)
async def test_a_worker_that_died_is_found_within_its_time_all_the_same(
    database: Database, enqueue: Enqueue, passed: Passed, jump_s: int
) -> None:
    steady = Steady()
    queue = BuildQueue(database, LIMITS, steady=steady)
    build = await enqueue("a")
    await queue.claim("w1")
    await queue.reap()
    await passed(build, jump_s)
    steady.s -= jump_s
    await queue.reap()
    await passed(build, 601)
    steady.s += 0
    assert await queue.reap() == (build,)
    assert (await queue.get(build)).status is BuildStatus.QUEUED


@pytest.mark.parametrize("jump_s", [-3600, -10 * 365 * 86_400])
async def test_a_clock_set_back_while_no_control_ran(database: Database, enqueue: Enqueue, passed: Passed, jump_s: int) -> None:
    """Whoever looks next finds stamps in the future, and no build waits for years until they are past."""
    build = await enqueue("a")
    before = BuildQueue(database, LIMITS)
    await before.claim("w1")
    await passed(build, jump_s)
    after = BuildQueue(database, LIMITS)
    assert await after.reap() == ()
    await passed(build, 601)
    assert await after.reap() == (build,)


async def test_a_clock_set_forward_while_no_control_ran(database: Database, enqueue: Enqueue, passed: Passed) -> None:
    running, waiting = await enqueue("a"), await enqueue("b")
    before = BuildQueue(database, LIMITS)
    claim = await before.claim("w1")
    assert claim is not None
    for build in (running, waiting):
        await passed(build, 86_400)
    after = BuildQueue(database, LIMITS)
    await after.begin()
    assert await after.reap() == ()
    await after.heartbeat(running, claim.token)


async def test_what_has_ended_is_left_alone(database: Database, enqueue: Enqueue, queue: BuildQueue) -> None:
    build = await enqueue("a")
    claim = await queue.claim("w1")
    assert claim is not None
    await queue.fail(build, claim.token, "no compiler")
    async with database.transaction() as tx:
        await tx.execute(update(jobs).values(queued_at=5))
    await queue.begin()
    async with database.reading() as reading:
        assert (await reading.execute(jobs.select())).one().queued_at == 5


async def test_a_control_process_that_starts_leaves_a_next_attempt_put_off(database: Database, enqueue: Enqueue) -> None:
    limits = QueueLimits(attempts_max=3, queued_s_max=7200, silence_s_max=600, retry_s=300)
    build = await enqueue("a")
    queue = BuildQueue(database, limits)
    for _ in range(2):  # the first loss says nothing about the next worker
        claim = await queue.claim("w1")
        assert claim is not None
        await queue.fail(build, claim.token, "the worker stops", hand_back=True)
    successor = BuildQueue(database, limits)
    put_off = (await queue.get(build)).not_before_ms
    await successor.begin()
    assert put_off is not None
    assert (await successor.get(build)).not_before_ms == put_off
    assert await successor.claim("w1") is None
