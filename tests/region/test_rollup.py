"""A region's sum says exactly what its machines said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fleetcast.model.deployment import ByteCounts
from fleetcast.model.errors import Invalid, Refused
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, MachineId, RegionName
from fleetcast.model.limits import (
    MACHINE_FORGOTTEN_S,
    REGION_MACHINES_MAX,
    REPORTED_LINE_CHARS_MAX,
    REPORTED_LINES_MAX,
    REPORTED_MACHINE_BYTES,
    ROLLUP_FAILURES_MAX,
    ROLLUP_MACHINES_MAX,
    ROLLUP_SETTLED_S,
)
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.messages.agents import MachineReport
from fleetcast.model.report import DeploymentRollup, Phase, ServiceReport
from fleetcast.region.alarms import Alarms
from fleetcast.region.machines import MachineBook
from fleetcast.region.rollup import Told, roll_up

MakeGoal = Callable[..., Goal]
MakeMachine = Callable[..., Machine]
MakeReport = Callable[..., ServiceReport]


@pytest.fixture
def book() -> MachineBook:
    return MachineBook(RegionName("eu"), silence_s_max=60, now=0)


def sum_of(book: MachineBook, goal: Goal, now: float) -> DeploymentRollup:
    return roll_up(goal, book.told(goal, now))


def test_phases_are_counted(make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport) -> None:
    goal = make_goal()
    phases = [Phase.FETCHING, Phase.FETCHED, Phase.ACTIVATING, Phase.ACTIVE, Phase.ACTIVE]
    told = [Told(make_machine(f"m{index}"), make_report(goal, phase), 0) for index, phase in enumerate(phases)]
    told.append(Told(make_machine("m8"), make_report(goal, Phase.FAILED, error="exit 1"), 0))
    told.append(Told(make_machine("m9"), None, 0))
    rollup = roll_up(goal, told)
    assert (rollup.selected, rollup.reporting, rollup.fetched, rollup.active, rollup.failed) == (7, 6, 5, 2, 1)
    assert [(failure.machine, failure.error) for failure in rollup.failures] == [("m8", "exit 1")]
    assert [each.machine for each in rollup.waiting] == ["m0", "m1", "m2", "m9"]
    assert rollup.bytes == ByteCounts(6, 12, 18)


def test_failed_before_the_fetch_was_done_is_not_fetched(
    make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport
) -> None:
    goal = make_goal()
    report = make_report(goal, Phase.FAILED, counts=ByteCounts(1, 0, 0))
    assert roll_up(goal, [Told(make_machine("m1"), report, 0)]).fetched == 0


def test_who_reports_another_deployment_has_not_heard_of_this_one(
    make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport
) -> None:
    old, new = make_goal(), make_goal(deployment=DeploymentId("d2"), generation=Generation(0, 2))
    rollup = roll_up(new, [Told(make_machine("m1"), make_report(old, Phase.ACTIVE), 0)])
    assert (rollup.selected, rollup.reporting, rollup.active) == (1, 0, 0)
    assert rollup.waiting[0].error == "has not answered to this goal yet"


def test_the_last_to_become_active_counts_with_the_age_of_its_report(
    make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport
) -> None:
    goal = make_goal()
    told = [
        Told(make_machine("m1"), make_report(goal, Phase.ACTIVE, active_age_ms=5000), 100),
        Told(make_machine("m2"), make_report(goal, Phase.ACTIVE, active_age_ms=200), 300),
    ]
    assert roll_up(goal, told).last_active_age_ms == 500


def test_names_are_bounded(make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport) -> None:
    goal = make_goal()
    told = [Told(make_machine(f"m{index:04}"), make_report(goal, Phase.FAILED), 0) for index in range(500)]
    rollup = roll_up(goal, told)
    assert rollup.failed == 500
    assert len(rollup.failures) == ROLLUP_FAILURES_MAX


def test_machines_are_named_whom_a_person_wants_to_see_first(
    make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport
) -> None:
    goal = make_goal()
    phases = [Phase.ACTIVE, Phase.FETCHING, Phase.FETCHED, None, Phase.FAILED]
    told = [
        Told(make_machine(f"m{index:02}"), None if phases[index % 5] is None else make_report(goal, phases[index % 5]), 0)
        for index in range(50)
    ]
    rollup = roll_up(goal, told)
    assert rollup.phases == {"ACTIVE": 10, "FETCHING": 10, "FETCHED": 10, "FAILED": 10}
    assert len(rollup.machines) == ROLLUP_MACHINES_MAX == 40, "the active ones find no place"
    shown = [machine.phase for machine in rollup.machines]
    assert shown[:10] == [Phase.FAILED] * 10
    assert set(shown[10:30]) == {Phase.FETCHED, None}
    assert shown[30:] == [Phase.FETCHING] * 10
    names = [machine.machine for machine in rollup.machines]
    assert [sorted(names[:10]), sorted(names[10:30]), sorted(names[30:])] == [names[:10], names[10:30], names[30:]]
    few = roll_up(goal, told[:5]).machines
    assert len(few) == 5, "where they are few, all of them"
    assert (few[-1].phase, few[-1].bytes, few[-1].target_bytes) == (Phase.ACTIVE, ByteCounts(1, 2, 3), 6)


def test_a_failed_machine_says_what_runs_there_now(
    make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport
) -> None:
    goal = make_goal()
    sick = make_report(goal, Phase.FAILED, error="exit 1")
    before = ReleaseRef(ArtifactName("web/" + "7" * 40), Digest("7" * 64), Digest("7" * 64))

    def noted(report: ServiceReport) -> tuple[str, bool]:
        (machine,) = roll_up(goal, [Told(make_machine("m1"), report, 0)]).machines
        return machine.note, machine.going_back

    assert noted(replace(sick, waiting_for="web/7 to come up")) == ("exit 1; goes back", True)
    assert noted(replace(sick, running=before)) == ("exit 1; runs 777777777777 again", False)
    assert noted(sick) == ("exit 1; nothing healthy runs", False)


def test_a_region_that_is_done_names_nobody_any_more(
    make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport
) -> None:
    goal = make_goal()

    def named(age_s: int, *more: Told) -> int:
        done = Told(make_machine("m1"), make_report(goal, Phase.ACTIVE, active_age_ms=age_s * 1000), 0)
        return len(roll_up(goal, [done, *more]).machines)

    assert named(ROLLUP_SETTLED_S) == 1
    assert named(ROLLUP_SETTLED_S + 1) == 0
    assert named(ROLLUP_SETTLED_S + 1, Told(make_machine("m2"), None, 0)) == 2, "somebody is missing"


def test_a_silent_machine_is_selected_and_not_reporting(
    book: MachineBook, make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport
) -> None:
    goal = make_goal()
    book.heard(MachineReport(make_machine("m1"), (make_report(goal, Phase.ACTIVE),)), now=0)
    assert sum_of(book, goal, 60).active == 1
    silent = sum_of(book, goal, 60.1)
    assert (silent.selected, silent.reporting, silent.active) == (1, 0, 0)
    assert book.reporting(60.1) == ()


def test_machines_that_are_not_selected_do_not_count(book: MachineBook, make_goal: MakeGoal, make_machine: MakeMachine) -> None:
    book.heard(MachineReport(make_machine("m1", zone="a"), ()), now=0)
    assert sum_of(book, make_goal(selector=Selector(zones=("b",))), 0).selected == 0


def test_down_is_what_the_last_report_says(
    book: MachineBook, make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport
) -> None:
    goal = make_goal()
    for phase, expected in ((Phase.FETCHING, {"m1"}), (Phase.ACTIVE, set()), (Phase.ACTIVATING, {"m1"})):
        book.heard(MachineReport(make_machine("m1"), (make_report(goal, phase),)), now=0)
        assert set(book.down("production", "web")) == expected
    beside = replace(make_report(goal, Phase.ACTIVATING), running=goal.target)
    book.heard(MachineReport(make_machine("m1"), (beside,)), now=0)
    assert set(book.down("production", "web")) == set(), "what it ran before serves until the new one takes over"
    book.heard(MachineReport(make_machine("m1"), (make_report(goal, Phase.ACTIVATING),)), now=0)
    book.forget_silent(now=MACHINE_FORGOTTEN_S + 1)
    assert set(book.down("production", "web")) == set()


def test_a_retired_machine_is_forgotten_unless_it_reports(
    book: MachineBook, make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport
) -> None:
    goal = make_goal()
    for machine in ("m1", "m2"):
        book.heard(MachineReport(make_machine(machine), (make_report(goal, Phase.ACTIVATING),)), now=0)
    book.heard(MachineReport(make_machine("m2"), (make_report(goal, Phase.ACTIVATING),)), now=100)
    book.retired([MachineId("m1"), MachineId("m2"), MachineId("of another region")], now=101)
    assert set(book.down("production", "web")) == {"m2"}, "m2 reports: control has not heard of it yet"
    assert sum_of(book, goal, now=101).selected == 1


def test_two_machines_of_one_id_are_refused(book: MachineBook, make_machine: MakeMachine) -> None:
    book.claim(make_machine("m1", zone="a"), now=0)
    with pytest.raises(Refused, match="m1 is in use"):
        book.heard(MachineReport(make_machine("m1", zone="b"), ()), now=0)
    book.claim(make_machine("m1", zone="b"), now=0)  # the other agent is gone, this one was let in
    book.heard(MachineReport(make_machine("m1", zone="b"), ()), now=0)


def test_a_machine_of_another_region_is_refused(book: MachineBook, make_machine: MakeMachine) -> None:
    with pytest.raises(Refused, match="this is eu"):
        book.heard(MachineReport(make_machine("m1", region="us"), ()), now=0)


def test_nothing_is_said_of_who_is_missing_until_a_region_has_listened_for_long_enough(
    book: MachineBook, make_machine: MakeMachine
) -> None:
    assert book.gathering(now=60)
    for now in (25, 50, 61):
        book.heard(MachineReport(make_machine("m1"), ()), now)
        assert book.everybody(now) == (() if now <= 60 else (make_machine("m1"),)), "there may be more until then"
    assert not book.gathering(now=61)
    for now in (90, 120, 150):
        book.listen(now)
    assert not book.gathering(now=150), "nobody reports, and it would have been heard"
    book.listen(now=200)
    assert book.gathering(now=200), "it was stopped meanwhile, and nobody was heard"
    assert book.gathering(now=260)


def test_too_many_machines_are_refused_until_silent_ones_are_forgotten(book: MachineBook, make_machine: MakeMachine) -> None:
    for index in range(REGION_MACHINES_MAX):
        book.claim(make_machine(f"m{index}"), now=0)
    with pytest.raises(Refused, match="add a region"):
        book.claim(make_machine("another"), now=0)
    book.forget_silent(now=MACHINE_FORGOTTEN_S + 1)
    book.claim(make_machine("another"), now=0)


def test_no_machine_can_make_control_refuse_the_regions_report(
    book: MachineBook, make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport
) -> None:
    goal = make_goal()
    for illegal in ("", "Bad Id", "../m1"):
        with pytest.raises(Invalid):
            book.claim(make_machine(illegal), now=0)
        with pytest.raises(Invalid):
            book.heard(MachineReport(make_machine(illegal), ()), now=0)
    with pytest.raises(Invalid, match="shorten"):
        book.heard(MachineReport(make_machine("m1", zone="z" * REPORTED_MACHINE_BYTES), ()), now=0)
    for beyond in (
        make_report(goal, Phase.FETCHING, counts=ByteCounts(2**63, 0, 0)),
        make_report(goal, Phase.FETCHING, counts=ByteCounts(-1, 0, 0)),
        make_report(goal, Phase.ACTIVE, active_age_ms=2**63),
        replace(make_report(goal, Phase.ACTIVE), generation=Generation(0, 2**63)),
    ):
        with pytest.raises(Invalid, match="no machine can mean"):
            book.heard(MachineReport(make_machine("m1"), (beyond,)), now=0)
    assert book.reporting(0) == ()
    failed = make_report(goal, Phase.FAILED, error="x" * 10**6)
    book.heard(MachineReport(make_machine("m1"), (failed,), ("y" * 10**6,) * 100), now=0)
    assert sum_of(book, goal, 0).failures[0].error == "x" * REPORTED_LINE_CHARS_MAX
    assert list(book.alarms(0)) == ["m1: " + "y" * REPORTED_LINE_CHARS_MAX] * REPORTED_LINES_MAX


def test_alarms_name_their_machine_and_end_with_it(book: MachineBook, make_machine: MakeMachine) -> None:
    book.heard(MachineReport(make_machine("m1"), (), ("peer m2 sent a wrong chunk",)), now=0)
    assert list(book.alarms(0)) == ["m1: peer m2 sent a wrong chunk"]
    book.heard(MachineReport(make_machine("m1"), ()), now=1)
    assert list(book.alarms(1)) == []


def test_an_alarm_stays_until_it_has_stopped_for_a_while() -> None:
    alarms = Alarms()
    assert alarms.raise_alarm("goal refused", now=0)
    assert not alarms.raise_alarm("goal refused", now=500)
    assert alarms.current(1000) == ("goal refused",)
    assert alarms.current(1101) == ()
    assert alarms.raise_alarm("goal refused", now=1200)


def test_a_failure_of_before_somebody_had_it_tried_again_is_none(
    make_goal: MakeGoal, make_machine: MakeMachine, make_report: MakeReport
) -> None:
    before = make_goal()
    said = make_report(before, Phase.FAILED, error="exit 1")
    again = replace(before, generation=before.generation.next(), again=before.generation.next())
    stale = roll_up(again, [Told(make_machine("m1"), said, 0)])
    assert (stale.reporting, stale.failed) == (0, 0)
    assert stale.cohort is not None
    assert stale.cohort.failed == 0
    once_more = roll_up(again, [Told(make_machine("m1"), replace(said, generation=again.generation), 0)])
    assert (once_more.reporting, once_more.failed) == (1, 1)
