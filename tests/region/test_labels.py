"""Given labels on their way through a region: from control's store to the machine they are meant for, and back in reports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fleetcast.http import messages
from fleetcast.model.artifact import labels_key
from fleetcast.model.errors import Refused
from fleetcast.model.goal import Goal
from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.machine import GivenLabels, Machine, Selector
from fleetcast.model.messages.agents import GoalsReply, GoalsRequest, MachineReport, MachineReportAccepted
from fleetcast.region.goals import HeldGoal, alive
from fleetcast.region.label_mirror import LabelMirror
from fleetcast.region.machines import MachineBook
from fleetcast.region.polls import GoalPolls
from fleetcast.region.view import RegionView
from fleetcast.stores.sqlite_kv import SqliteKv

MakeGoal = Callable[..., Goal]
MakeMachine = Callable[..., Machine]
Eventually = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


async def connected() -> Any:
    """The ``receive`` of a caller that stays."""
    await asyncio.get_running_loop().create_future()


async def ask(polls: GoalPolls, machine: Machine, etag: str = "", wait_s: float = 0.0) -> GoalsReply:
    return messages.decode(await polls.poll(GoalsRequest(machine, etag, wait_s), connected), GoalsReply)


async def park(polls: GoalPolls, machine: Machine) -> asyncio.Task[GoalsReply]:
    etag, before = (await ask(polls, machine)).etag, polls.held
    task = asyncio.create_task(ask(polls, machine, etag, 30))
    for _ in range(100):
        if polls.held > before:
            return task
        await asyncio.sleep(0)
    raise AssertionError("it was not held")


async def test_labels_wake_the_machine_they_are_given_to_and_nobody_else(make_machine: MakeMachine) -> None:
    polls = GoalPolls("ab", 1.0, lambda: 0)
    one, other = make_machine("m1"), make_machine("m2")
    concerned, bystander = await park(polls, one), await park(polls, other)
    polls.relabel({one.id: {"role": "web"}})
    assert (await concerned).labels == {"role": "web"}
    assert polls.held == 1
    again = await park(polls, one.labelled({"role": "web"}))
    polls.relabel({one.id: {}})
    assert (await again).labels == {}, "taken away is said in so many words"
    polls.close()
    assert (await bystander).labels is None


async def test_from_control_to_the_machine_and_a_region_without_control_still_says_them(
    region: Any, control: Any, make_machine: MakeMachine, make_goal: MakeGoal, eventually: Eventually
) -> None:
    machine, agent = make_machine("m1"), region.agent()
    goal = make_goal(selector=Selector(labels={"role": "web"}))
    await control.put_goal(goal)
    await control.put_labels(machine.id, role="web")

    async def told() -> Any:
        return (await region.goals(region.agent(), machine)).labels

    assert await eventually(told) == {"role": "web"}
    assert (await region.goals(agent, machine.labelled({"role": "web"}))).goals == (goal,)
    await control.kv.delete("labels/m1")
    await control.go_away()
    await region.stop()
    await region.start()
    assert await told() == {"role": "web"}


async def test_reports_cross_a_change_of_labels_and_another_machine_is_still_refused(
    region: Any, control: Any, make_machine: MakeMachine, eventually: Eventually
) -> None:
    agent, bare = region.agent(), replace(make_machine("m1"), labels={"disk": "ssd"})

    async def report(machine: Machine) -> None:
        await agent.ask("POST", "/v1/reports", MachineReport(machine, ()), reply=MachineReportAccepted)

    await region.goals(agent, bare)
    await report(bare)
    await control.put_labels(bare.id, role="web")

    async def told() -> Any:
        return (await region.goals(region.agent(), bare)).labels

    await eventually(told)
    labelled = bare.labelled({"role": "web"})
    await report(labelled)  # sent before the poll that claims the new labels arrives
    await region.goals(agent, labelled)
    await report(bare)  # sent before
    for stranger in (replace(bare, labels={"disk": "hdd"}), replace(labelled, zone="elsewhere")):
        with pytest.raises(Refused, match="own id"):
            await report(stranger)


def test_labels_that_were_taken_away_do_not_make_it_another_machine(make_machine: MakeMachine) -> None:
    book = MachineBook(RegionName("eu"), 60, 0)
    bare = make_machine("m1")
    labelled = bare.labelled({"role": "web"})
    book.relabel({bare.id: {"role": "web"}})
    book.claim(labelled, 0)
    book.relabel({bare.id: {}})
    book.claim(bare, 1)
    book.heard(MachineReport(labelled, ()), 2)
    assert book.reporting(2) == (bare,), "the claim decides"


def test_tombstones_that_have_expired_are_handed_out_no_more(make_goal: MakeGoal) -> None:
    goals = [
        make_goal("web"),
        replace(make_goal("api"), removed=True),
        replace(make_goal("old"), removed=True, expires_at_ms=5),
    ]
    held = [HeldGoal(f"goals/production/{goal.service}", goal, messages.encode(goal)) for goal in goals]
    assert [each.goal.service for each in alive(held, 5)] == ["web", "api"]


async def test_they_follow_control_and_what_vanishes_there_takes_none_away(control: Any, tmp_path: Path) -> None:
    store = await SqliteKv.open(tmp_path / "regional.db")
    mirror, view = LabelMirror(control, store, 1.0, Random(1)), RegionView(store)
    one, of_another_region = MachineId("m1"), MachineId("us-1")
    await control.put_labels(one, role="web")
    await control.put_labels(of_another_region, role="db")
    await control.kv.put("labels/m2", messages.encode(GivenLabels(one, {"role": "nobody's"})))
    await control.kv.put("labels/m3", b"of tomorrow")
    await mirror.poll()
    await view.load()
    assert view.labels == {one: {"role": "web"}, of_another_region: {"role": "db"}}
    await control.put_labels(one)
    await control.kv.delete(labels_key(of_another_region))
    await mirror.poll()
    await view.load()
    assert view.labels == {one: {}, of_another_region: {"role": "db"}}
    await store.close()
