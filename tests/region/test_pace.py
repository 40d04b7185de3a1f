"""A small installation is lively, a large one is not flooded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from fleetcast.model.deployment import ByteCounts
from fleetcast.model.goal import Goal
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import MachineReport, MachineReportAccepted
from fleetcast.model.report import Phase, ServiceReport
from fleetcast.region.pace import progress_interval_s

Eventually = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


@pytest.mark.parametrize(
    ("machines", "usual_s", "interval_s"),
    [(0, 15.0, 1.0), (12, 15.0, 1.0), (500, 15.0, 1.0), (2500, 15.0, 5.0), (20_000, 15.0, 15.0), (12, 0.5, 0.5)],
)
def test_the_pace_follows_from_the_number_of_machines(machines: int, usual_s: float, interval_s: float) -> None:
    assert progress_interval_s(machines, usual_s) == interval_s


async def test_control_hears_of_what_moves_long_before_the_next_usual_report(
    region: Any,
    control: Any,
    make_goal: Callable[..., Goal],
    make_machine: Callable[..., Machine],
    make_report: Callable[..., ServiceReport],
    eventually: Eventually,
) -> None:
    await region.stop()
    region.config = replace(region.config, report_interval_s=600.0)
    control.reports.clear()
    await region.start()

    async def first() -> Any:
        return control.reports or None

    await eventually(first)
    goal, machine, agent = make_goal(), make_machine("m1"), region.agent()
    await control.put_goal(goal)
    reply = await region.goals(agent, machine)
    assert reply.progress_interval_s == 1.0, "and agents are told the same"
    seen: set[int] = set()
    for fetched in range(1, 4):
        counts = ByteCounts(peer=fetched)
        report = make_report(goal, Phase.FETCHING, counts=counts)
        await agent.ask("POST", "/v1/reports", MachineReport(machine, (report,)), reply=MachineReportAccepted)

        async def told(wanted: int = fetched) -> Any:
            peers = {rollup.bytes.peer for each in control.reports for rollup in each.rollups}
            return peers if wanted in peers else None

        seen |= await eventually(told)
    assert {1, 2, 3} <= seen
