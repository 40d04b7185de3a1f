"""Which goals a whole agent follows, and which it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleetcast.model.generation import Generation
from fleetcast.model.goal import Cohort
from fleetcast.model.machine import Selector
from fleetcast.model.permit import PermitDecision
from served import running, server, starts

Agents = Callable[..., Any]


async def test_nothing_is_stopped_without_a_permit(region: Any, agents: Agents, tmp_path: Path) -> None:
    a, b = server(region, tmp_path, "a"), server(region, tmp_path, "b")
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    pid = running(agent)
    region.permit = lambda request: PermitDecision(not request.available, 0.05, "3 of at most 3 machines of web are down")
    goal = region.want(b, 2, baseline=a)
    report = await region.reported(goal, "FETCHED")
    await region.until(lambda: region.reports["m1", "web"].waiting_for.endswith("3 machines of web are down"))
    assert report.running == a.ref
    assert running(agent) == pid
    region.permit = lambda _: PermitDecision(True, 60.0, "")
    await region.reported(goal, "ACTIVE")


async def test_a_machine_outside_the_wave_fetches_and_keeps_what_it_runs(region: Any, agents: Agents, tmp_path: Path) -> None:
    a, b = server(region, tmp_path, "a"), server(region, tmp_path, "b")
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    report = await region.reported(region.want(b, 2, baseline=a, cohorts=(Cohort(Selector(), 0),)), "FETCHED")
    assert (report.running, report.waiting_for) == (a.ref, "its wave")
    assert starts(agent) == ["a"]


async def test_a_lower_generation_is_refused_and_an_equal_one_with_other_content_alarmed(
    region: Any, agents: Agents, tmp_path: Path
) -> None:
    a, b = server(region, tmp_path, "a"), server(region, tmp_path, "b")
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 5), "ACTIVE")
    region.want(b, 4)
    region.want(b, 6, generation=Generation(0, 5))
    await region.until(lambda: any("other content" in alarm for alarm in region.alarms))
    assert region.reports["m1", "web"].target == a.ref
    await agent.stop()
    region.alarms = ()
    await agent.start()
    await region.until(lambda: any("other content" in alarm for alarm in region.alarms))
    assert starts(agent) == ["a"], "the floor outlives the agent"


async def test_a_root_that_no_installed_key_signed_fails_and_runs_nothing(region: Any, agents: Agents, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = type(region)(tmp_path / "other")
    forged = server(other, tmp_path, "a")
    region.envelopes.update(other.envelopes)
    agent = agents()
    await agent.start()
    report = await region.reported(region.want(forged, 1), "FAILED")
    assert "none of the installed worker keys signed it" in report.error
    assert starts(agent) == []


async def test_a_root_of_another_service_is_not_run(region: Any, agents: Agents, tmp_path: Path) -> None:
    a = server(region, tmp_path, "a")
    agent = agents()
    await agent.start()
    goal = region.want(a, 1, service="shop")
    report = await region.reported(goal, "FAILED")
    assert "the signed root" in report.error
    assert starts(agent, "shop") == []


async def test_an_expired_goal_starts_nothing(region: Any, agents: Agents, tmp_path: Path) -> None:
    a = server(region, tmp_path, "a")
    agent = agents()
    await agent.start()
    goal = region.want(a, 1, expires_at_ms=1)
    report = await region.reported(goal, "FETCHING")
    assert report.waiting_for == "a goal that has not expired"
    assert starts(agent) == []
