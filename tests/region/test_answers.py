"""What a region tells about single machines, when control asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from fleetcast.model.goal import Goal
from fleetcast.model.ids import MachineId
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import MachineReport, MachineReportAccepted
from fleetcast.model.report import MachineAnswer, Phase, ServiceReport

Eventually = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


async def answers(control: Any, eventually: Eventually, *machines: str) -> list[MachineAnswer]:
    control.answers.clear()
    control.wanted = tuple(MachineId(name) for name in machines)

    async def all_there() -> Any:
        return control.answers if len(control.answers) == len(machines) else None

    return list(await eventually(all_there))


async def test_a_region_answers_for_its_machines(
    region: Any,
    control: Any,
    make_goal: Callable[..., Goal],
    make_machine: Callable[..., Machine],
    make_report: Callable[..., ServiceReport],
    eventually: Eventually,
) -> None:
    report = make_report(make_goal(), Phase.FAILED, error="exit 3")
    sent = MachineReport(make_machine("m1"), (report,), ("clock is off",))
    await region.agent().ask("POST", "/v1/reports", sent, reply=MachineReportAccepted)
    known, unknown = await answers(control, eventually, "m1", "nobody")
    assert known.heard_age_ms is not None
    assert known == MachineAnswer(MachineId("m1"), known.heard_age_ms, (report,), ("clock is off",))
    assert unknown == MachineAnswer(MachineId("nobody"), None)
    before = len(control.reports)

    async def goes_on() -> Any:
        return len(control.reports) > before or None

    await eventually(goes_on)
    assert len(control.answers) == 2, "asked once, answered once"


async def test_a_removed_service_is_summed_up_no_more(
    region: Any, control: Any, make_goal: Callable[..., Goal], eventually: Eventually
) -> None:
    goal = make_goal()

    async def rollups() -> list[str]:
        return [rollup.deployment for rollup in control.reports[-1].rollups] if control.reports else []

    async def summed() -> Any:
        return await rollups() or None

    async def not_summed() -> Any:
        return not await rollups() or None

    await control.put_goal(goal)
    await eventually(summed)
    await control.put_goal(replace(goal, generation=goal.generation.next(), removed=True))
    await eventually(not_summed)
