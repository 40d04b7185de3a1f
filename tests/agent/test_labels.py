"""Labels that people give a machine, as its agent works under them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleetcast.model.limits import REPORTED_MACHINE_BYTES
from fleetcast.model.machine import Selector

Agents = Callable[..., Any]
ROLE_WEB = Selector(labels={"role": "web"})


async def test_a_machine_that_is_given_a_label_gets_the_goals_for_it(region: Any, agents: Agents, tmp_path: Path) -> None:
    web = region.publish(tmp_path, {"x": "web"}, activate="exec sleep 60")
    agent = agents()
    await agent.start()
    goal = region.want(web, 1, selector=ROLE_WEB)
    await region.until(lambda: "m1" in region.machines)
    assert not agent.service().exists()
    region.give("m1", role="web", name="other")
    await region.reported(goal, "ACTIVE")
    assert region.machines["m1"].labels == {"name": "other", "role": "web"}, "given ones win over the settings'"


async def test_given_labels_outlive_the_agent_and_its_region(region: Any, agents: Agents, tmp_path: Path) -> None:
    web = region.publish(tmp_path, {"x": "web"}, activate="exec sleep 60")
    agent = agents()
    await agent.start()
    region.give("m1", role="web")
    goal = region.want(web, 1, selector=ROLE_WEB)
    await region.reported(goal, "ACTIVE")
    await agent.stop()
    region.given.clear()  # a region that knows nothing of labels: new, or of the version before
    region.reports.clear()
    region.machines.clear()
    await agent.start()
    await region.reported(goal, "ACTIVE")
    assert region.machines["m1"].labels["role"] == "web"


async def test_taken_away_the_goal_is_withdrawn_and_what_runs_stays(region: Any, agents: Agents, tmp_path: Path) -> None:
    web = region.publish(tmp_path, {"x": "web"}, activate='echo once >> "$FLEETCAST_DATA/starts"; exec sleep 60')
    agent = agents()
    await agent.start()
    region.give("m1", role="web")
    goal = region.want(web, 1, selector=ROLE_WEB)
    await region.reported(goal, "ACTIVE")
    region.give("m1")
    await region.until(lambda: region.machines["m1"].labels == {"name": "m1"})
    region.reports.clear()
    region.give("m1", role="web")
    report = await region.reported(goal, "ACTIVE")
    assert report.running == web.ref
    assert (agent.service() / "data" / "starts").read_text() == "once\n"


async def test_labels_that_no_region_would_take_are_left_out(region: Any, agents: Agents) -> None:
    agent = agents()
    region.give("m1", role="x" * REPORTED_MACHINE_BYTES)
    await agent.start()
    await region.until(lambda: any("too long" in alarm for alarm in region.alarms))
    assert region.machines["m1"].labels == {"name": "m1"}
