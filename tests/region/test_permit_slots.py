"""What frees a slot of ``max_unavailable`` beside the machine that held it: it is retired, or not meant any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fleetcast.model.goal import Goal, Limits
from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.messages.agents import MachineReport
from fleetcast.model.permit import PermitRequest
from fleetcast.model.report import Phase, ServiceReport
from fleetcast.region.machines import MachineBook
from fleetcast.region.permits import PermitBook, PermitTerms

MakeMachine = Callable[..., Machine]
MakeReport = Callable[..., ServiceReport]
LIFETIME_S = 300


class Region:
    """The books of a region that takes one machine down at a time, as its process asks them. Times are seconds."""

    def __init__(self, goal: Goal, make_machine: MakeMachine, make_report: MakeReport) -> None:
        self.goal, self.make_machine, self.make_report = goal, make_machine, make_report
        self.machines = MachineBook(RegionName("eu"), 60, 0)
        self.permits = PermitBook(PermitTerms(LIFETIME_S, 0))

    def heard(self, name: str, now: float, *, role: str = "web", down: bool = False) -> None:
        """It reports; about the service only while that is meant to run there."""
        machine = replace(self.make_machine(name), labels={"role": role})
        report = self.make_report(self.goal, Phase.ACTIVATING)
        report = replace(report, running=None if down else self.goal.target)
        self.machines.heard(MachineReport(machine, (report,) if self.goal.selects(machine) else ()), now)

    def may(self, name: str, now: float) -> bool:
        machine, goal = MachineId(name), self.goal
        request = PermitRequest(machine, goal.service, goal.environment, goal.generation, True)
        down = self.machines.down(goal.environment, goal.service)
        return self.permits.ask(request, goal, self.machines.spot(machine), down, now, 0).granted

    def done(self, name: str) -> None:
        goal = self.goal
        self.permits.release(PermitRequest(MachineId(name), goal.service, goal.environment, goal.generation, True))

    def retired(self, name: str, now: float) -> None:
        self.permits.forget(self.machines.retired([MachineId(name)], now))


@pytest.fixture
def region(make_goal: Callable[..., Goal], make_machine: MakeMachine, make_report: MakeReport) -> Region:
    goal = make_goal(selector=Selector(labels={"role": "web"}), limits=Limits(max_unavailable=1))
    return Region(goal, make_machine, make_report)


@pytest.mark.parametrize("went_down", [False, True])
def test_a_machine_that_is_retired_with_its_permit_frees_its_slot(region: Region, went_down: bool) -> None:
    region.heard("m1", 0)
    assert region.may("m1", 0)
    region.heard("m1", 1, down=went_down)
    region.heard("m2", 70)
    assert not region.may("m2", 70)
    region.retired("m1", 70)
    assert region.may("m2", 71), "nobody waits for the end of a permit that nobody has any more"
    assert not region.may("m3", 72)


def test_one_that_reports_again_is_not_gone_and_keeps_what_it_holds(region: Region) -> None:
    region.heard("m1", 0)
    assert region.may("m1", 0)
    region.heard("m1", 65)
    region.heard("m2", 70)
    region.retired("m1", 70)
    assert not region.may("m2", 70)
    assert region.may("m1", 71)


def test_one_that_is_not_meant_any_more_keeps_its_permit_until_it_gives_it_back(region: Region) -> None:
    region.heard("m1", 0)
    assert region.may("m1", 0)
    region.heard("m1", 1, down=True)
    region.machines.relabel({MachineId("m1"): {"role": "db"}})
    region.heard("m1", 2, role="db")
    region.heard("m2", 2)
    assert not region.may("m2", 3), "it may be in the middle of a change-over"
    region.done("m1")
    assert region.may("m2", 4)


def test_one_that_is_not_meant_any_more_and_says_nothing_of_its_permit_frees_it_when_it_is_over(region: Region) -> None:
    region.heard("m1", 0)
    assert region.may("m1", 0)
    region.heard("m1", 1, down=True)
    region.machines.relabel({MachineId("m1"): {"role": "db"}})
    for now in range(2, LIFETIME_S, 15):
        region.heard("m1", now, role="db")
        region.heard("m2", now)
        assert not region.may("m2", now)
    assert region.may("m2", LIFETIME_S)
