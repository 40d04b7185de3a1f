"""Somebody goes back at a region past control: over its own API, and what the region does with control's goals after that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from fleetcast.client.one_region import RegionControls
from fleetcast.http import messages
from fleetcast.model.artifact import goal_key, rollback_key
from fleetcast.model.errors import Forbidden, NotFound, Refused, Unauthorized
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, ServiceName
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import MachineReport, MachineReportAccepted, PermitCall, PermitReply
from fleetcast.model.messages.region_rollbacks import RegionRollbackRequest, RegionRollbackStatus
from fleetcast.model.permit import PermitRequest
from fleetcast.model.region_rollback import RegionRollback
from fleetcast.model.report import Phase
from fleetcast.region.alarms import Alarms
from fleetcast.region.mirror import Mirror
from fleetcast.stores.sqlite_kv import SqliteKv

Eventually = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
WEB = ServiceName("web")
ASKED = RegionRollbackRequest(WEB, "ada@night", why="checkout is down")
OLD, NEW = (ReleaseRef(ArtifactName(f"web/{letter * 40}"), Digest(letter * 64), Digest(letter * 64)) for letter in "ab")


@pytest.fixture
async def person(region: Any) -> AsyncIterator[RegionControls]:
    async with RegionControls(region.addresses["api"], region.config.token) as person:
        yield person


@pytest.fixture
async def deployed(control: Any, region: Any, make_goal: Any, make_machine: Any, eventually: Eventually) -> Goal:
    """The goal that a machine of the region has: ``NEW`` has succeeded after ``OLD``."""
    goal: Goal = replace(make_goal(target=OLD), baseline=OLD)
    agent, machine = region.agent(), make_machine("m1")
    for number, release in ((2, OLD), (3, NEW)):
        goal = replace(goal, generation=Generation(0, number), target=release, baseline=release)
        await control.put_goal(goal)
        await _told(region, agent, machine, goal.generation, eventually)
    return goal


async def _told(region: Any, agent: Any, machine: Machine, at_least: Generation, eventually: Eventually) -> Goal:
    async def look() -> Goal | None:
        goals = (await region.goals(agent, machine)).goals
        return goals[0] if goals and goals[0].generation >= at_least else None

    found: Goal = await eventually(look)
    return found


async def _went_back(person: RegionControls, request: RegionRollbackRequest = ASKED) -> RegionRollbackStatus:
    return await person.roll_back(request)


async def test_its_machines_are_told_the_release_before_at_once_with_control_dead(
    control: Any, region: Any, person: RegionControls, deployed: Goal, make_machine: Any, eventually: Eventually
) -> None:
    await control.go_away()
    done = await _went_back(person)
    assert (done.rollback.left, done.rollback.target, done.rollback.over) == (NEW, OLD, deployed.deployment)
    assert (done.rollback.by, done.rollback.why, done.rollback.region) == ("ada@night", "checkout is down", "eu")
    agent, machine = region.agent(), make_machine("m1")
    goal = await _told(region, agent, machine, deployed.generation.raised(0), eventually)
    assert (goal.deployment, goal.target, goal.rollback) == (done.rollback.deployment, OLD, True)
    assert goal.generation.epoch > 1_700_000_000_000, "law 3: the epoch is the time, in ms"


async def test_how_far_it_is_is_told_and_permits_are_those_of_a_rollback(
    region: Any, person: RegionControls, deployed: Goal, make_machine: Any, make_report: Any, eventually: Eventually
) -> None:
    done = await _went_back(person)
    agent, machine = region.agent(), make_machine("m1")
    goal = await _told(region, agent, machine, deployed.generation.raised(0), eventually)
    permit = PermitCall(PermitRequest(machine.id, WEB, "production", goal.generation, available=True))
    answer = await agent.ask("POST", "/v1/permits", permit, reply=PermitReply)
    assert answer.decision.granted
    for phase, active in ((Phase.ACTIVATING, 0), (Phase.ACTIVE, 1)):
        report = MachineReport(machine, (make_report(goal, phase),))
        await agent.ask("POST", "/v1/reports", report, reply=MachineReportAccepted)
        status = await person.rollback("production", WEB)
        assert (status.rollback, status.selected, status.active) == (done.rollback, 1, active)


async def test_control_is_told_in_every_report_and_its_goals_are_taken_once_it_says_so(
    control: Any, region: Any, person: RegionControls, deployed: Goal, make_machine: Any, make_goal: Any, eventually: Eventually
) -> None:
    done = await _went_back(person)

    async def reported() -> Any:
        return next((told for told in control.reports[-1].rollbacks), None)

    told = await eventually(reported)
    assert told.rollback == done.rollback
    assert told.generation > deployed.generation
    agent, machine = region.agent(), make_machine("m1")
    # A backup that was restored: higher than everything, and decided by nobody who knew.
    restored = replace(deployed, generation=told.generation.raised(told.generation.epoch + 10**9))
    await control.put_goal(restored)
    seen = len(control.reports)

    async def reported_again() -> Any:
        return len(control.reports) > seen + 5 or None

    await eventually(reported_again)
    assert (await region.goals(agent, machine)).goals[0].deployment == done.rollback.deployment
    assert not any("refused" in alarm for alarm in control.reports[-1].alarms)

    control.rollbacks_over = (done.rollback.deployment,)
    goal = await _told(region, agent, machine, restored.generation, eventually)
    assert goal == restored
    with pytest.raises(NotFound, match="no rollback of web in production stands"):
        await person.rollback("production", WEB)


async def test_the_next_process_of_the_region_stands_by_it(
    control: Any, region: Any, person: RegionControls, deployed: Goal, make_machine: Any, eventually: Eventually
) -> None:
    done = await _went_back(person)
    await region.stop()
    seen = len(control.reports)
    await region.start()

    async def reported() -> Any:
        return next((each for report in control.reports[seen:] for each in report.rollbacks), None)

    assert (await eventually(reported)).rollback == done.rollback
    await control.put_goal(replace(deployed, generation=deployed.generation.next()))
    goal = await _told(region, region.agent(), make_machine("m1"), deployed.generation.raised(0), eventually)
    assert goal.deployment == done.rollback.deployment


@pytest.mark.parametrize(
    ("request_", "error", "code"),
    [
        (replace(ASKED, service=ServiceName("api")), NotFound, "unknown_service"),
        (replace(ASKED, environment="staging"), NotFound, "unknown_service"),
        (replace(ASKED, to="f" * 40), NotFound, "not_in_region"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    region: Any, person: RegionControls, deployed: Goal, make_machine: Any, request_: Any, error: Any, code: str
) -> None:
    with pytest.raises(error) as refused:
        await _went_back(person, request_)
    assert refused.value.code == code
    assert (await region.goals(region.agent(), make_machine("m1"))).goals == (deployed,)


async def test_there_is_an_end_to_going_back(person: RegionControls, deployed: Goal) -> None:
    await _went_back(person)
    with pytest.raises(Refused, match="no earlier release of web that succeeded"):
        await _went_back(person)


async def test_only_who_holds_the_regions_token_may(region: Any, deployed: Goal) -> None:
    for token, error in (("agents", Forbidden), ("somebody", Unauthorized)):
        async with RegionControls(region.addresses["api"], token) as other:
            with pytest.raises(error):
                await other.roll_back(ASKED)
            with pytest.raises(error):
                await other.rollback("production", WEB)


async def test_a_note_of_a_rollback_without_its_goal_says_nothing(
    control: Any, region: Any, deployed: Goal, make_machine: Any, eventually: Eventually
) -> None:
    """Its writer died between the two."""
    await region.stop()
    store = await SqliteKv.open(region.config.kv_path)
    half = RegionRollback(
        region.config.region, WEB, "production", DeploymentId("half"), deployed.deployment, NEW, OLD, 1, "ada@night"
    )
    await store.put(rollback_key("production", WEB), messages.encode(half))
    await Mirror(control, store, Alarms(), 1.0, Random(1)).poll()
    newer = replace(deployed, generation=deployed.generation.next())
    await control.put_goal(newer)
    await Mirror(control, store, Alarms(), 1.0, Random(1)).poll()
    entry = await store.get(goal_key("production", WEB))
    assert entry is not None
    assert messages.decode(entry.value, Goal) == newer
    await store.close()
    await region.start()
    assert (await region.goals(region.agent(), make_machine("m1"))).goals == (newer,)
