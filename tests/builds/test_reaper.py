"""The reaper on a real database: however short the silence it looks for, however many of it there are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import func, select, text

from fleetcast.builds.queue import BuildQueue, QueueLimits
from fleetcast.model.build import BuildStatus
from fleetcast.model.event import EventKind
from fleetcast.model.ids import BuildId
from fleetcast.model.limits import BUILD_REAPED_AT_ONCE_MAX
from fleetcast.schema.tables import events, jobs
from fleetcast.stores.database import Database

Enqueue = Callable[..., Awaitable[BuildId]]
Passed = Callable[[BuildId, float], Awaitable[None]]


def _limits(silence_s: float) -> QueueLimits:
    return QueueLimits(attempts_max=3, queued_s_max=7200, silence_s_max=silence_s, service_running_max=1000)


@pytest.mark.parametrize("silence_s", [2, 60, 600])
async def test_whoever_was_silent_for_too_long_is_found_and_may_say_nothing_more(
    database: Database, enqueue: Enqueue, passed: Passed, silence_s: float
) -> None:
    queue = BuildQueue(database, _limits(silence_s))
    build = await enqueue()
    lost = await queue.claim("w1")
    assert lost is not None
    await passed(build, silence_s + 0.1)
    assert await queue.reap() == (build,)
    assert await queue.reap() == ()
    again = await queue.claim("w2")
    assert again is not None
    assert (again.build.id, again.build.attempt) == (build, 2)


async def test_many_reapers_at_once_take_each_build_once(
    database_url: str, database: Database, enqueue: Enqueue, passed: Passed
) -> None:
    """Three processes' worth of connections, more builds than one transaction takes."""
    queue = BuildQueue(database, _limits(600))
    count = BUILD_REAPED_AT_ONCE_MAX + 20
    for number in range(1, count + 1):
        build = await enqueue(number=number)
        assert await queue.claim("w1") is not None
        if number > 1:  # one of them goes on
            await passed(build, 601)
    others = [await Database.open(database_url) for _ in range(2)]
    queues = [queue, *(BuildQueue(other, _limits(600)) for other in others)]
    reaped = [build for turn in await asyncio.gather(*(one.reap() for one in queues)) for build in turn]
    for other in others:
        await other.close()
    assert len(reaped) == count - 1
    assert max(Counter(reaped).values()) == 1
    async with database.reading() as reading:
        requeued = select(func.count()).where(events.c.kind == EventKind.BUILD_REQUEUED)
        assert (await reading.execute(requeued)).scalar_one() == count - 1
        running = select(func.count()).where(jobs.c.status == BuildStatus.RUNNING)
        assert (await reading.execute(running)).scalar_one() == 1


async def test_what_lives_is_a_view_with_how_long_ago_its_worker_was_heard(
    database: Database, enqueue: Enqueue, passed: Passed
) -> None:
    queue = BuildQueue(database, _limits(600))
    running, waiting, ended = await enqueue("a"), await enqueue("b"), await enqueue("c")
    assert await queue.claim("w1") is not None
    await passed(running, 90)
    await queue.abort(ended)
    async with database.reading() as reading:
        rows = (await reading.execute(text("SELECT id, status, silent_ms FROM jobs_live ORDER BY id"))).all()
    assert [(row.id, row.status) for row in rows] == [(running, "RUNNING"), (waiting, "QUEUED")]
    assert rows[0].silent_ms >= 90_000
    assert rows[1].silent_ms is None
