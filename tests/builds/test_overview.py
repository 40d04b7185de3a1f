"""The queue as people see it: place in line, what for, where it lands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fleetcast.builds.queue import BuildQueue, QueueLimits
from fleetcast.model.build import Lane
from fleetcast.model.ids import BuildId
from fleetcast.stores.database import Database

Enqueue = Callable[..., Awaitable[BuildId]]
Passed = Callable[[BuildId, float], Awaitable[None]]
LIMITS = QueueLimits(attempts_max=9, queued_s_max=7200, silence_s_max=600, service_running_max=2, retry_s=100)


async def test_each_build_says_what_it_waits_for(database: Database, enqueue: Enqueue, passed: Passed) -> None:
    queue = BuildQueue(database, LIMITS)
    assert ((await queue.status()).queued, (await queue.status()).wanted_workers) == (0, 0)
    lost = await enqueue("a")
    for _ in range(2):
        claim = await queue.claim("w1")
        assert claim is not None
        await queue.fail(lost, claim.token, "no disk", hand_back=True)
    running, next_, third = await enqueue("b"), await enqueue("c"), await enqueue("d")
    await passed(running, 60)
    assert (await queue.claim("w1")) is not None
    urgent = await enqueue("e", lane=Lane.URGENT)
    with queue.asking():
        status = await queue.status()

    assert [(one.build.id, one.position, one.waits_for) for one in status.waiting] == [
        (urgent, 1, "worker"),
        (lost, 2, "backoff"),
        (next_, 3, "service"),
        (third, 4, "service"),
    ]
    assert status.waiting[0].text == "the next free worker"
    assert "attempt 2 of 9: no disk" in status.waiting[1].text
    assert status.waiting[2].text == "web has 2 builds running or before it, and may have no more"
    assert [one.build.id for one in status.under_way] == [running]
    assert (status.queued, status.ready, status.urgent, status.running, status.idle) == (4, 1, 1, 1, 1)
    assert (status.wanted_workers, status.more) == (2, 0)
    assert status.under_way[0].running_s < 60, "since the claim, not since the order"


async def test_a_build_that_no_worker_asks_for_says_so(database: Database, enqueue: Enqueue, passed: Passed) -> None:
    build = await enqueue("a")
    await passed(build, 90)
    status = await BuildQueue(database, LIMITS).status()
    assert status.waiting[0].text == "no worker asks for builds at the moment: is one running?"
    assert status.oldest_wait_s >= 90
    assert status.waiting[0].lands_in == ()
