"""The queue on a real database: order, exclusiveness, tokens."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from fleetcast.builds.queue import BuildQueue, Claim, QueueLimits
from fleetcast.builds.reaper import Reaper
from fleetcast.model.build import BuildStatus, Recipe
from fleetcast.model.errors import NotFound, Refused, Stale
from fleetcast.model.ids import BuildId, Token
from fleetcast.stores.database import Database

Enqueue = Callable[..., Awaitable[BuildId]]
Passed = Callable[[BuildId, float], Awaitable[None]]


async def _claim(queue: BuildQueue, worker: str = "w1") -> Claim:
    claim = await queue.claim(worker)
    assert claim is not None
    return claim


async def _succeed(database: Database, queue: BuildQueue, claim: Claim, blob: str = "builds/1/1/content") -> None:
    async with database.transaction() as tx:
        await queue.succeed(tx, claim.build.id, claim.token, blob)


async def test_a_claim_carries_everything_the_order_said(queue: BuildQueue, enqueue: Enqueue) -> None:
    recipe = Recipe(build="make", output="out", environment={"A": "1"})
    build = await enqueue("a", recipe=recipe)
    claim = await _claim(queue, "w1")

    assert (claim.build.id, claim.build.name, claim.build.status) == (build, f"web/{'a' * 40}", BuildStatus.RUNNING)
    assert (claim.repository, claim.trunk, claim.recipe) == ("/repo", "main", recipe)
    assert (claim.build.attempt, claim.build.worker) == (1, "w1")
    assert claim.build.last_heartbeat_ms is not None
    assert await queue.claim("w2") is None


async def test_the_oldest_comes_first_even_when_it_was_queued_again_last(
    queue: BuildQueue, enqueue: Enqueue, passed: Passed
) -> None:
    first, second = await enqueue("a"), await enqueue("b")
    third = await enqueue("c")
    await passed(third, 60)
    claim = await _claim(queue)
    assert claim.build.id == third
    await queue.fail(third, claim.token, "worker stopping", hand_back=True)

    assert [(await _claim(queue)).build.id for _ in range(3)] == [third, first, second]


async def test_a_name_that_waits_or_runs_is_shared_and_a_finished_one_is_not(
    database: Database, queue: BuildQueue, enqueue: Enqueue
) -> None:
    build = await enqueue("a")
    assert await enqueue("a") == build
    claim = await _claim(queue)
    assert await enqueue("a") == build
    await queue.fail(build, claim.token, "no compiler")
    again = await enqueue("a")
    assert again != build
    assert await enqueue("a", number=2) not in (build, again)


async def test_a_shared_build_must_have_been_ordered_alike(queue: BuildQueue, enqueue: Enqueue) -> None:
    await enqueue("a", trunk="main")
    with pytest.raises(Refused, match="another repository, trunk or recipe") as refused:
        await enqueue("a", trunk="")
    assert refused.value.code == "build_differs"


@pytest.mark.timeout(60)
async def test_many_claimers_never_get_the_same_job(database_url: str, database: Database, enqueue: Enqueue) -> None:
    """Four processes' worth of connections to one database, forty claimers."""
    builds = {await enqueue("abcdef0123456789"[i % 16], number=i) for i in range(1, 81)}
    others = [await Database.open(database_url) for _ in range(3)]
    limits = QueueLimits(3, 7200, 600, service_running_max=100)
    queues = [BuildQueue(database, limits) for database in (database, *others)]

    async def take_all(number: int) -> list[BuildId]:
        taken = []
        while (claim := await queues[number % len(queues)].claim(f"w{number}")) is not None:
            taken.append(claim.build.id)
        return taken

    taken = [build for batch in await asyncio.gather(*(take_all(number) for number in range(40))) for build in batch]
    for other in others:
        await other.close()

    assert set(taken) == builds
    assert max(Counter(taken).values()) == 1


async def test_success_is_final_and_repeatable(database: Database, queue: BuildQueue, enqueue: Enqueue) -> None:
    build = await enqueue()
    claim = await _claim(queue)
    await _succeed(database, queue, claim)
    await _succeed(database, queue, claim)
    with pytest.raises(Stale):
        await _succeed(database, queue, claim, "another/blob")
    with pytest.raises(Stale):
        await queue.fail(build, claim.token, "too late")
    with pytest.raises(Stale):
        await queue.heartbeat(build, claim.token)

    now = await queue.get(build)
    assert (now.status, now.blob, now.reason) == (BuildStatus.SUCCEEDED, "builds/1/1/content", "")
    assert now.finished_at_ms is not None


async def test_failure_is_final_and_repeatable(database: Database, queue: BuildQueue, enqueue: Enqueue) -> None:
    build = await enqueue()
    claim = await _claim(queue)
    assert await queue.fail(build, claim.token, "make: no rule") is BuildStatus.FAILED
    assert await queue.fail(build, claim.token, "make: no rule") is BuildStatus.FAILED
    with pytest.raises(Stale):
        await _succeed(database, queue, claim)

    assert (await queue.get(build)).reason == "make: no rule"
    assert await queue.claim("w2") is None


async def test_a_handed_back_build_goes_to_another_worker_until_attempts_run_out(
    queue: BuildQueue, enqueue: Enqueue, passed: Passed
) -> None:
    build = await enqueue()
    for attempt in (1, 2):
        claim = await _claim(queue, f"w{attempt}")
        assert claim.build.attempt == attempt
        assert await queue.fail(build, claim.token, "worker stopping", hand_back=True) is BuildStatus.QUEUED
        assert (await queue.get(build)).reason == f"attempt {attempt} of 3: worker stopping"
        await passed(build, 60)
    claim = await _claim(queue, "w3")
    assert await queue.fail(build, claim.token, "worker stopping", hand_back=True) is BuildStatus.FAILED
    assert (await queue.get(build)).reason == "worker stopping; that was attempt 3 of 3"


async def test_the_token_of_a_silent_worker_is_refused_everywhere(
    database: Database, queue: BuildQueue, enqueue: Enqueue, passed: Passed
) -> None:
    build = await enqueue()
    lost = await _claim(queue, "w1")
    await passed(build, 700)
    assert await queue.reap() == (build,)
    assert (await queue.get(build)).status is BuildStatus.QUEUED
    for held_by_another in (False, True):
        if held_by_another:
            assert (await _claim(queue, "w2")).build.attempt == 2
        for late in (
            lambda: queue.heartbeat(build, lost.token),
            lambda: _succeed(database, queue, lost),
            lambda: queue.fail(build, lost.token, "late"),
            lambda: queue.fail(build, lost.token, "late", hand_back=True),
        ):
            with pytest.raises(Stale) as stale:
                await late()
            assert stale.value.code == "stale_token"
    assert ((await queue.get(build)).status, (await queue.get(build)).worker) == (BuildStatus.RUNNING, "w2")


async def test_heartbeats_keep_a_build(queue: BuildQueue, enqueue: Enqueue, passed: Passed) -> None:
    build = await enqueue()
    claim = await _claim(queue)
    for _ in range(2):
        await passed(build, 500)
        await queue.heartbeat(build, claim.token)
        assert await queue.reap() == ()
    assert (await queue.get(build)).status is BuildStatus.RUNNING


async def test_a_worker_is_silent_only_for_as_long_as_it_could_be_heard(
    queue: BuildQueue, enqueue: Enqueue, passed: Passed
) -> None:
    """Control starts, is stopped for a while, and goes on: none of that is the worker's silence."""
    build = await enqueue()
    await _claim(queue)
    now = 1000.0
    reaper = Reaper(queue, silence_s_max=600, interval_s=30, clock=lambda: now)
    await passed(build, 700)
    assert await reaper.turn() == (), "down until now"
    for _ in range(10):
        now += 31
        assert await reaper.turn() == ()
    now += 650
    assert await reaper.turn() == (), "stopped until now"
    for _ in range(19):
        now += 31
        assert await reaper.turn() == ()
    now += 31
    assert await reaper.turn() == (build,)


async def test_the_reaper_ends_what_waited_too_long(queue: BuildQueue, enqueue: Enqueue, passed: Passed) -> None:
    old, new = await enqueue("a"), await enqueue("b")
    await passed(old, 7201)
    assert await queue.reap() == (old,)
    assert (await queue.get(old)).status is BuildStatus.FAILED
    assert (await _claim(queue)).build.id == new


async def test_two_reapers_count_an_attempt_once(queue: BuildQueue, enqueue: Enqueue, passed: Passed) -> None:
    build = await enqueue()
    await _claim(queue)
    await passed(build, 700)
    reaped = await asyncio.gather(*(queue.reap() for _ in range(5)))
    assert sum(len(one) for one in reaped) == 1
    assert (await queue.get(build)).attempt == 1


async def test_the_reaper_wakes_waiting_workers(
    database: Database, queue: BuildQueue, enqueue: Enqueue, passed: Passed
) -> None:
    build = await enqueue()
    await _claim(queue)
    await passed(build, 700)
    queued = asyncio.Event()
    queue.on_queued = queued.set
    assert await queue.reap() == (build,)
    assert queued.is_set()
    assert (await _claim(queue, "w2")).build.attempt == 2


async def test_a_build_that_never_was_is_not_stale_but_unknown(queue: BuildQueue) -> None:
    with pytest.raises(NotFound, match="no build 7"):
        await queue.heartbeat(BuildId(7), Token("x"))
    with pytest.raises(NotFound):
        await queue.get(BuildId(7))
