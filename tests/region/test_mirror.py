"""What of control's store reaches the region's, in which order, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fleetcast.artifacts.signing import envelope_digest
from fleetcast.http import messages
from fleetcast.model.artifact import ArtifactRecord, artifact_record_key
from fleetcast.model.errors import Unavailable
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import ArtifactName, Digest, ServiceName
from fleetcast.model.messages.regions import KvPage
from fleetcast.region.alarms import Alarms
from fleetcast.region.mirror import Mirror
from fleetcast.region.view import RegionView
from fleetcast.stores.sqlite_kv import SqliteKv

MakeGoal = Callable[..., Goal]
Eventually = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
WEB = ServiceName("web")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteKv]:
    store = await SqliteKv.open(tmp_path / "region.db")
    yield store
    await store.close()


@pytest.fixture
def alarms() -> Alarms:
    return Alarms()


@pytest.fixture
def mirror(control: Any, store: SqliteKv, alarms: Alarms) -> Mirror:
    return Mirror(control, store, alarms, 1.0, Random(1))


def record_of(envelope: str) -> ArtifactRecord:
    root = envelope_digest(envelope)
    return ArtifactRecord(ReleaseRef(ArtifactName("web/a"), Digest("a" * 64), root), envelope, 10, 20)


async def seen(store: SqliteKv) -> RegionView:
    view = RegionView(store)
    await view.load()
    return view


async def test_goals_and_records_arrive_and_follow(control: Any, store: SqliteKv, mirror: Mirror, make_goal: MakeGoal) -> None:
    await control.put_record(record_of("one"))
    await control.put_goal(make_goal())
    await mirror.poll()
    view = await seen(store)
    assert view.goal("production", WEB) == make_goal()
    assert view.record(envelope_digest("one")) == record_of("one")
    newer = make_goal(generation=Generation(0, 2))
    await control.put_goal(newer)
    await mirror.poll()
    assert (await seen(store)).goal("production", WEB) == newer


async def test_a_goal_goes_over_byte_for_byte(control: Any, store: SqliteKv, mirror: Mirror, make_goal: MakeGoal) -> None:
    text = messages.encode(make_goal())[:-1] + b', "of_tomorrow": true}'
    await control.kv.put("goals/production/web", text)
    await mirror.poll()
    entry = await store.get("goals/production/web")
    assert entry is not None
    assert entry.value == text


async def test_nothing_is_written_when_nothing_is_new(
    control: Any, store: SqliteKv, mirror: Mirror, make_goal: MakeGoal
) -> None:
    await control.put_record(record_of("one"))
    await control.put_goal(make_goal())
    await mirror.poll()
    revision = (await store.range("")).revision
    await mirror.poll()
    await Mirror(control, store, Alarms(), 1.0, Random(1)).poll()
    assert (await store.range("")).revision == revision


async def test_a_lower_generation_is_refused_and_alarmed(
    control: Any, store: SqliteKv, mirror: Mirror, alarms: Alarms, make_goal: MakeGoal
) -> None:
    await control.put_goal(make_goal(generation=Generation(1, 1)))
    await mirror.poll()
    await control.put_goal(make_goal(generation=Generation(0, 7)))
    await mirror.poll()
    goal = (await seen(store)).goal("production", WEB)
    assert goal is not None
    assert goal.generation == Generation(1, 1)
    assert any("refused" in alarm for alarm in alarms.current(0))


async def test_other_content_of_one_generation_is_refused_and_alarmed(
    control: Any, store: SqliteKv, mirror: Mirror, alarms: Alarms, make_goal: MakeGoal
) -> None:
    await control.put_goal(make_goal())
    await mirror.poll()
    await control.put_goal(make_goal(deployment="d2"))
    await mirror.poll()
    assert (await seen(store)).goal("production", WEB) == make_goal()
    assert any("other content" in alarm for alarm in alarms.current(0))


async def test_a_goal_that_vanished_at_control_stays(
    control: Any, store: SqliteKv, mirror: Mirror, make_goal: MakeGoal
) -> None:
    await control.put_goal(make_goal())
    await mirror.poll()
    await control.kv.delete("goals/production/web")
    await mirror.poll()
    assert (await seen(store)).goal("production", WEB) == make_goal()


async def test_a_record_goes_when_control_drops_it_unless_a_goal_names_it(
    control: Any, store: SqliteKv, mirror: Mirror, make_goal: MakeGoal
) -> None:
    kept, dropped = record_of("kept"), record_of("dropped")
    await control.put_record(kept)
    await control.put_record(dropped)
    await control.put_goal(make_goal(target=kept.release))
    await mirror.poll()
    for record in (kept, dropped):
        await control.kv.delete(artifact_record_key(record.release.root))
    await mirror.poll()
    view = await seen(store)
    assert view.record(kept.release.root) == kept
    assert view.record(dropped.release.root) is None


async def test_what_a_snapshot_does_not_name_is_gone(control: Any, store: SqliteKv, mirror: Mirror) -> None:
    await control.put_record(record_of("one"))
    await mirror.poll()
    await control.kv.delete(artifact_record_key(envelope_digest("one")))
    await control.kv.compact((await control.kv.range("")).revision)
    await Mirror(control, store, Alarms(), 1.0, Random(1)).poll()
    assert (await seen(store)).artifacts() == {}


async def test_what_is_unreadable_or_under_a_wrong_key_is_refused_and_the_rest_arrives(
    control: Any, store: SqliteKv, mirror: Mirror, alarms: Alarms, make_goal: MakeGoal
) -> None:
    await control.kv.put("goals/production/api", b"{}")
    await control.kv.put("goals/production/binary", b"\xff\xfe")
    await control.kv.put("goals/production/other", messages.encode(make_goal()))
    forged = replace(record_of("one"), envelope="two")
    await control.kv.put(artifact_record_key(envelope_digest("one")), messages.encode(forged))
    await control.put_goal(make_goal())
    await mirror.poll()
    view = await seen(store)
    assert [held.key for held in view.goals] == ["goals/production/web"]
    assert view.artifacts() == {}
    assert len(alarms.current(0)) == 4


async def test_a_control_that_lost_its_store_is_followed_again(
    control: Any, store: SqliteKv, mirror: Mirror, make_goal: MakeGoal, tmp_path: Path
) -> None:
    for counter in range(1, 6):
        await control.put_goal(make_goal(generation=Generation(0, counter)))
    await mirror.poll()
    old, control.kv = control.kv, await SqliteKv.open(tmp_path / "rewritten.db")
    await old.close()
    raised = make_goal(generation=Generation(1, 1))
    await control.put_goal(raised)
    await mirror.poll()
    assert (await seen(store)).goal("production", WEB) == raised


async def test_more_than_one_answer_holds_arrives_in_one_poll(control: Any, store: SqliteKv, mirror: Mirror) -> None:
    await control.put_record(record_of("first"))
    await mirror.poll()
    big = "x" * 300_000
    for index in range(10):
        await control.put_record(record_of(f"{big}{index}"))
    await mirror.poll()
    assert sum(len(records) for records in (await seen(store)).artifacts().values()) == 11


async def test_what_is_written_comes_at_once_where_control_holds_the_question(
    control: Any, store: SqliteKv, make_goal: MakeGoal, eventually: Eventually
) -> None:
    await control.put_goal(make_goal("api"))
    looking = asyncio.create_task(Mirror(control, store, Alarms(), 3600.0, Random(1), watching=True).run())
    try:
        await eventually(lambda: store.get("goals/production/api"))
        for generation in (Generation(0, 2), Generation(0, 3)):
            goal = make_goal("api", generation=generation)
            await control.put_goal(goal)
            await eventually(lambda goal=goal: held(store, goal))
    finally:
        looking.cancel()


async def test_a_question_that_control_does_not_hold_costs_an_interval(
    control: Any, store: SqliteKv, make_goal: MakeGoal, eventually: Eventually
) -> None:
    class Impatient:
        refused = 0

        async def kv_page(self, prefix: str, after: int, wait_s: float = 0.0) -> KvPage:
            if wait_s > 0:
                self.refused += 1
                raise Unavailable("stopping", "this control process stops: ask again")
            return await control.kv_page(prefix, after)

    impatient = Impatient()
    await control.put_goal(make_goal("api"))
    looking = asyncio.create_task(Mirror(impatient, store, Alarms(), 0.05, Random(1), watching=True).run())
    try:
        await eventually(lambda: store.get("goals/production/api"))
        goal = make_goal("api", generation=Generation(0, 2))
        await control.put_goal(goal)
        await eventually(lambda: held(store, goal))
        assert impatient.refused > 0
    finally:
        looking.cancel()


async def held(store: SqliteKv, goal: Goal) -> bool | None:
    """``None``: not yet."""
    entry = await store.get(f"goals/{goal.environment}/{goal.service}")
    return True if entry is not None and entry.value == messages.encode(goal) else None


async def test_everything_is_read_again_although_somebody_asks_for_it_in_the_middle_of_a_poll(
    control: Any, store: SqliteKv, make_goal: MakeGoal
) -> None:
    asked: list[int] = []

    class Interrupted:
        async def kv_page(self, prefix: str, after: int, wait_s: float = 0.0) -> KvPage:
            asked.append(after)
            if len(asked) == 3:  # of the second poll
                mirror.read_again()
            return await control.kv_page(prefix, after, wait_s)  # type: ignore[no-any-return]

    await control.put_goal(make_goal())
    mirror = Mirror(Interrupted(), store, Alarms(), 1.0, Random(1))
    await mirror.poll()
    await mirror.poll()
    assert asked[:2] == [0, 0]
    assert all(asked[2:])
    count = len(asked)
    await mirror.poll()
    assert asked[count : count + 2] == [0, 0]
