"""A service that is removed, on a machine that runs it: real processes, a real swarm, real files."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent import spawning
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.processes import ServiceProcess
from fleetcast.agent.sockets import ServiceSockets
from fleetcast.launch.ports import free_ports
from fleetcast.model.goal import Goal
from fleetcast.model.machine import Selector
from fleetcast.model.permit import PermitDecision

Until = Callable[[Callable[[], bool]], Awaitable[None]]
Agents = Callable[..., Any]

# Tidies up when it is asked to end, which takes it a moment.
SERVER = """trap 'sleep 0.2; echo bye >> "$FLEETCAST_DATA/words"; exit 0' TERM
echo hello | tee "$FLEETCAST_DATA/words"
while :; do sleep 0.02; done"""


@pytest.fixture
def web(region: Any, tmp_path: Path) -> Any:
    return region.publish(tmp_path, {"version": "a"}, activate=SERVER, health='test -e "$FLEETCAST_DATA/words"')


def remove(region: Any, goal: Goal, **more: Any) -> Goal:
    """What control writes when somebody removes the service."""
    changed: dict[str, Any] = {"selector": Selector(), "removed": True, **more}
    tombstone = replace(goal, generation=goal.generation.next(), **changed)
    region.set_goals(**{**region.goals, goal.service: tombstone})
    return tombstone


def pid(agent: Any) -> int | None:
    instance = ServiceProcess(ServiceLayout(agent.service())).instance
    return None if instance is None or not spawning.alive(instance.process) else instance.process.pid


def left(agent: Any) -> set[str]:
    """Files of the service on this machine, without directories."""
    base = agent.service()
    return {str(path.relative_to(base)) for path in base.rglob("*") if path.is_file() or path.is_symlink()}


async def gone(region: Any, machine: str = "m1") -> None:
    def said() -> bool:
        report = region.reports.get((machine, "web"))
        return report is not None and report.removed and report.phase == "ACTIVE"

    await region.until(said)


async def test_it_is_stopped_and_cleared_away_and_its_data_stays(region: Any, agents: Agents, web: Any) -> None:
    agent = agents()
    await agent.start()
    goal = region.want(web, 1)
    await region.reported(goal, "ACTIVE")
    process, asked = pid(agent), len(region.asked)
    region.permit = lambda _: PermitDecision(False, 0.05, "nobody may go down")
    remove(region, goal)
    await gone(region)
    assert process is not None
    assert not Path(f"/proc/{process}").exists()
    assert (agent.service() / "data" / "words").read_text() == "hello\nbye\n", "it was asked to end, and given the time"
    assert "hello" in (agent.service() / "log" / "service.log").read_text()
    assert not any(name.startswith(("current", "releases", "incoming", "roots", "discarded", "run")) for name in left(agent))
    assert len(region.asked) == asked, "no permit is needed for what does not come back"
    assert region.reports["m1", "web"].running is None


async def test_it_comes_back_with_the_next_deployment(region: Any, agents: Agents, web: Any) -> None:
    agent = agents()
    await agent.start()
    goal = region.want(web, 1)
    await region.reported(goal, "ACTIVE")
    remove(region, goal)
    await gone(region)
    report = await region.reported(region.want(web, 3, baseline=web), "ACTIVE")
    assert (report.removed, report.running) == (False, web.ref)
    assert report.bytes.local == 0, "it was fetched again"
    assert pid(agent)


async def test_a_machine_that_was_away_clears_up_when_it_is_back(region: Any, agents: Agents, web: Any) -> None:
    agent = agents()
    await agent.start()
    goal = region.want(web, 1)
    await region.reported(goal, "ACTIVE")
    await agent.stop()
    assert pid(agent), "what was started outlives the agent"
    remove(region, goal)
    region.reports.clear()
    await agent.start()
    await gone(region)
    assert pid(agent) is None
    assert left(agent) == {"data/words", "log/health.log", "log/service.log", "state.json"}


async def test_it_may_be_removed_in_the_middle_of_a_change_over(region: Any, agents: Agents, web: Any, tmp_path: Path) -> None:
    stuck = region.publish(tmp_path, {"version": "b"}, commit="b", activate=SERVER, health="exit 1", health_timeout_s=60.0)
    agent = agents()
    await agent.start()
    await region.reported(region.want(web, 1), "ACTIVE")
    goal = region.want(stuck, 2, baseline=web)
    await region.reported(goal, "ACTIVATING")
    remove(region, goal)
    await gone(region)
    assert pid(agent) is None
    assert not (agent.service() / "current").is_symlink()


async def test_what_keeps_the_sockets_of_one_that_never_started_ends_with_its_removal(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    address = f"127.0.0.1:{free_ports(1, '127.0.0.1', random.Random())[0]}"
    web = region.publish(tmp_path, {"version": "a"}, activate=SERVER, sockets=(address,))
    agent = agents()
    in_the_way = agent.service() / "log" / "service.log"
    in_the_way.mkdir(parents=True)
    await agent.start()
    goal = region.want(web, 1)
    await until(lambda: ServiceSockets(ServiceLayout(agent.service())).kept == (address,))
    remove(region, goal)
    await gone(region)
    assert ServiceSockets(ServiceLayout(agent.service())).keeper is None
    host, _, port = address.rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), 5)


async def test_it_may_be_removed_in_the_middle_of_a_fetch(region: Any, agents: Agents, web: Any) -> None:
    region.origin_open = False
    agent = agents()
    await agent.start()
    goal = region.want(web, 1)
    await region.reported(goal, "FETCHING")
    remove(region, goal)
    await gone(region)
    assert left(agent) <= {"state.json"}


async def test_a_machine_that_never_had_it_makes_nothing_of_a_tombstone(region: Any, agents: Agents, web: Any) -> None:
    agent = agents()
    remove(region, region.want(web, 1))
    other = region.want(replace(web, root=replace(web.root, service="other")), 1)
    await agent.start()
    await region.until(lambda: ("m1", other.service) in region.reports)
    assert ("m1", "web") not in region.reports
    assert not agent.service().exists()


async def test_a_tombstone_that_has_expired_stops_nothing(region: Any, agents: Agents, web: Any) -> None:
    agent = agents()
    await agent.start()
    goal = region.want(web, 1)
    await region.reported(goal, "ACTIVE")
    tombstone = remove(region, goal, expires_at_ms=time.time_ns() // 1_000_000 - 1)
    await region.until(lambda: region.reports["m1", "web"].generation == tombstone.generation)
    assert pid(agent)
