"""Builds that ended long ago go, and their figures stay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from fleetcast.builds import ageing
from fleetcast.builds.ageing import forget_builds
from fleetcast.builds.history import build_history
from fleetcast.builds.logs import BuildLogs
from fleetcast.builds.queue import BuildQueue
from fleetcast.model.ids import BuildId, ServiceName
from fleetcast.model.machine import Selector
from fleetcast.model.messages.queue import BuildHistory
from fleetcast.schema.tables import build_days, build_log, deployments, jobs
from fleetcast.stores.database import Database

Enqueue = Callable[..., Awaitable[BuildId]]
DAY_S = 86_400


async def _end(database: Database, queue: BuildQueue, *, succeeded: bool, days_ago: float = 0) -> BuildId:
    """The next build in line ends, having waited 2 seconds and taken 5."""
    claim = await queue.claim("w1")
    assert claim is not None
    build = claim.build.id
    await BuildLogs(database, None).append(build, claim.token, 0, "said\n")
    if succeeded:
        async with database.transaction() as tx:
            await queue.succeed(tx, build, claim.token, "blob")
    else:
        await queue.fail(build, claim.token, "no compiler")
    ago_ms = int(days_ago * DAY_S * 1000)
    async with database.transaction() as tx:
        finished = jobs.c.finished_at - ago_ms
        times = {"finished_at": finished, "started_at": finished - 5000, "created_at": finished - 7000}
        await tx.execute(update(jobs).where(jobs.c.id == build).values(**times))
    return build


async def _history(database: Database, days: int = 30, service: str | None = None) -> BuildHistory:
    async with database.reading() as reading:
        return await build_history(reading, days, None if service is None else ServiceName(service))


async def _count(database: Database, table: Any) -> int:
    async with database.reading() as reading:
        return int((await reading.execute(select(func.count()).select_from(table))).scalar_one())


def _deployment(build: BuildId, state: str) -> dict[str, Any]:
    return {
        "id": state.lower(),
        "service": "web",
        "environment": "production",
        "kind": "deploy",
        "sequence": build,
        "commit_sha": "a" * 40,
        "selector": Selector(),
        "state": state,
        "build_id": build,
        "created_at": 1,
    }


async def test_what_goes_is_still_counted_and_what_is_young_stays(
    database: Database, queue: BuildQueue, enqueue: Enqueue
) -> None:
    for commit in "abc":
        await enqueue(commit)
    await enqueue("d", service="api")
    old = [await _end(database, queue, succeeded=True, days_ago=11), await _end(database, queue, succeeded=False, days_ago=11)]
    young = await _end(database, queue, succeeded=True, days_ago=9)
    before = await _history(database)
    assert [(one.service, one.builds, one.succeeded, one.failed) for one in before.items] == [
        ("web", 1, 1, 0),
        ("web", 2, 1, 1),
    ]
    assert [(one.wait_s, one.wait_s_max, one.build_s, one.build_s_max) for one in before.items] == [(2, 2, 5, 5)] * 2

    assert list(await forget_builds(database, 10)) == old
    assert await forget_builds(database, 10) == ()
    assert await _history(database) == before
    assert await _count(database, build_log) == 1
    assert await _count(database, jobs) == 2, "a young one, and one that waits"
    assert (await queue.get(young)).blob == "blob"
    assert [one.builds for one in (await _history(database, days=10)).items] == [1]
    assert (await _history(database, service="api")).items == ()


async def test_days_are_added_to_in_any_number_of_turns(database: Database, queue: BuildQueue, enqueue: Enqueue) -> None:
    for number in range(1, 4):
        await enqueue(number=number)
        await _end(database, queue, succeeded=True, days_ago=11)
        await forget_builds(database, 10)
    (day,) = (await _history(database)).items
    assert (day.builds, day.succeeded, day.attempts, day.wait_s, day.build_s_max) == (3, 3, 3, 2, 5)
    assert await _count(database, build_days) == 1


async def test_many_may_forget_at_once_and_each_build_counts_once(
    database: Database, queue: BuildQueue, enqueue: Enqueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ageing, "BUILDS_FORGOTTEN_AT_ONCE_MAX", 2)
    for number in range(1, 8):
        await enqueue(number=number)
        await _end(database, queue, succeeded=True, days_ago=11)
    forgotten = [build for turn in await asyncio.gather(*(forget_builds(database, 10) for _ in range(4))) for build in turn]
    assert len(forgotten) == len(set(forgotten)) == 7
    assert [one.builds for one in (await _history(database)).items] == [7]


async def test_a_build_that_an_unfinished_deployment_names_stays(
    database: Database, queue: BuildQueue, enqueue: Enqueue
) -> None:
    await enqueue("a")
    await enqueue("b")
    wanted = await _end(database, queue, succeeded=True, days_ago=11)
    gone = await _end(database, queue, succeeded=True, days_ago=11)
    async with database.transaction() as tx:
        await tx.execute(insert(deployments), [_deployment(wanted, "REPLICATING"), _deployment(gone, "SUCCEEDED")])
    assert await forget_builds(database, 10) == (gone,)
    async with database.reading() as reading:
        left = {row.state: row.build_id for row in await reading.execute(select(deployments.c.state, deployments.c.build_id))}
    assert left == {"REPLICATING": wanted, "SUCCEEDED": None}


async def test_a_build_that_was_never_claimed_has_no_times(database: Database, queue: BuildQueue, enqueue: Enqueue) -> None:
    build = await enqueue()
    await queue.abort(build)
    (day,) = (await _history(database)).items
    assert (day.builds, day.failed, day.attempts, day.wait_s, day.build_s) == (1, 1, 0, 0, 0)
