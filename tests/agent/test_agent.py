"""A whole agent against a region: real sockets, a real swarm, real processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent.leftovers import stop_services
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.errors import Refused
from fleetcast.model.hooks import Hook
from served import LARGE, running, server, starts

Until = Callable[[Callable[[], bool]], Awaitable[None]]
Agents = Callable[..., Any]


async def test_a_goal_becomes_a_running_service(region: Any, agents: Agents, tmp_path: Path) -> None:
    a = server(region, tmp_path, "a")
    agent = agents(environment={"GREETING": "hello"})
    await agent.start()
    goal = region.want(a, 1)
    report = await region.reported(goal, "ACTIVE")
    assert agent.current() == a.files
    assert report.running == a.ref
    assert report.bytes.total == report.target_bytes == a.root.content_size
    assert report.bytes.origin > 0
    assert not os.access(agent.service() / "current" / "version", os.W_OK) or os.geteuid() == 0
    assert (agent.service() / "current" / "version").stat().st_mode & 0o222 == 0
    assert running(agent)
    environment = Path(f"/proc/{running(agent)[0]}/environ").read_bytes().decode().split("\0")
    assert {"GREETING=hello", "FLEETCAST_SERVICE=web", "FLEETCAST_MACHINE=m1", "FLEETCAST_REGION=eu"} <= set(environment)


async def test_an_update_copies_what_it_can_and_a_rollback_fetches_nothing(region: Any, agents: Agents, tmp_path: Path) -> None:
    a, b = server(region, tmp_path, "a"), server(region, tmp_path, "b")
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    forward = await region.reported(region.want(b, 2, baseline=a), "ACTIVE")
    assert forward.bytes.local > 1_000_000, "the large file is the same"
    leased = region.leased
    region.envelopes.clear()
    back = await region.reported(region.want(a, 3, baseline=a, rollback=True), "ACTIVE")
    assert back.bytes == ByteCounts(local=a.root.content_size)
    assert region.leased == leased
    assert starts(agent) == ["a", "b", "a"]
    assert agent.current() == a.files
    assert [request.available for request in region.asked if request.available] == [True, True]
    await region.until(lambda: len(region.returned) == 3)


async def test_a_fetch_is_reported_at_the_pace_of_progress(region: Any, agents: Agents, tmp_path: Path) -> None:
    region.report_interval_s, region.progress_interval_s, region.origin_open = 600.0, 0.05, False
    agent = agents()
    await agent.start()
    goal = region.want(server(region, tmp_path, "a"), 1)
    await region.reported(goal, "FETCHING")
    heard = region.heard
    await region.until(lambda: region.heard >= heard + 3)
    region.origin_open = True
    await region.reported(goal, "ACTIVE")


async def test_a_second_machine_fetches_from_the_first(region: Any, agents: Agents, tmp_path: Path) -> None:
    a = server(region, tmp_path, "a")
    first, second = agents("m1"), agents("m2")
    await first.start()
    goal = region.want(a, 1)
    await region.reported(goal, "ACTIVE")
    region.origin_open = False
    await second.start()
    report = await region.reported(goal, "ACTIVE", machine="m2")
    assert report.bytes == ByteCounts(peer=a.root.content_size)
    assert second.current() == a.files


async def test_what_runs_outlives_the_agent_and_is_found_again(region: Any, agents: Agents, tmp_path: Path) -> None:
    a = server(region, tmp_path, "a")
    agent = agents()
    await agent.start()
    goal = region.want(a, 1)
    await region.reported(goal, "ACTIVE")
    pid = running(agent)
    await agent.stop()
    assert running(agent) == pid
    region.reports.clear()
    await agent.start()
    report = await region.reported(goal, "ACTIVE")
    assert report.bytes.origin == a.root.content_size, "where the bytes came from is remembered"
    assert running(agent) == pid
    assert starts(agent) == ["a"]


async def test_a_sick_release_is_left_for_the_one_before_and_not_tried_again(
    region: Any, agents: Agents, tmp_path: Path
) -> None:
    a = server(region, tmp_path, "a")
    sick = server(region, tmp_path, "b", health="echo no database; exit 4", health_timeout_s=2.0)
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    goal = region.want(sick, 2, baseline=a)
    report = await region.reported(goal, "FAILED")
    assert report.error == "the health check did not pass within 2 s: it exited with 4: no database"
    await region.until(lambda: region.reports["m1", "web"].running == a.ref)
    assert agent.current() == a.files
    assert starts(agent) == ["a", "b", "a"]
    region.want(sick, 2, baseline=a, generation=replace(goal.generation, counter=3))
    await region.until(lambda: region.reports["m1", "web"].generation.counter == 3)
    assert region.reports["m1", "web"].phase == "FAILED"
    assert starts(agent) == ["a", "b", "a"]
    await region.reported(region.want(a, 4, baseline=a), "ACTIVE")
    assert starts(agent) == ["a", "b", "a"], "it runs already"


async def test_a_health_check_that_hangs_says_so(region: Any, agents: Agents, tmp_path: Path) -> None:
    stuck = server(region, tmp_path, "a", health="echo waiting for the database; sleep 60", health_timeout_s=3.0)
    agent = agents()
    await agent.start()
    report = await region.reported(region.want(stuck, 1), "FAILED")
    assert report.error == "the health check did not pass within 3 s: it does not end: waiting for the database"


async def test_a_release_that_dies_at_once_says_why(region: Any, agents: Agents, tmp_path: Path) -> None:
    dying = server(region, tmp_path, "a", activate="echo cannot bind; exit 3", health="exit 1", health_timeout_s=30.0)
    agent = agents()
    await agent.start()
    report = await region.reported(region.want(dying, 1), "FAILED")
    assert report.error == "the process exited with 3 before it was healthy: cannot bind"
    assert report.running is None
    assert running(agent) == []


async def test_a_release_that_dies_while_somebody_else_answers_its_health_check_has_failed(
    region: Any, agents: Agents, tmp_path: Path
) -> None:
    taken = server(region, tmp_path, "a", activate="sleep 0.3; echo address in use; exit 1", health="true")
    agent = agents(settle_s=10.0)
    await agent.start()
    report = await region.reported(region.want(taken, 1), "FAILED")
    assert report.error == "the process exited with 1 before it was healthy: address in use"


async def test_an_agent_that_stops_in_a_change_over_does_not_leave_the_service_down(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    told = tmp_path / "told"
    slow = f"trap 'touch {told}; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 0' TERM; while :; do sleep 0.05; done"
    a = server(region, tmp_path, "a", activate=slow, health="true")
    b = server(region, tmp_path, "b")
    agent = agents(stop_grace_s=30.0)
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    region.want(b, 2, baseline=a)
    await until(told.exists)
    stopping = asyncio.create_task(agent.stop())
    await asyncio.sleep(0)  # the agent has been told
    (tmp_path / "go").touch()
    await stopping
    await until(lambda: starts(agent) == ["b"])
    assert agent.current() == b.files
    assert len(running(agent)) == 1


def stubborn(told: Path, go: Path) -> str:
    """A service that ends no sooner than ``go`` is there, and says that it was told to."""
    end = f"touch {told}; while [ ! -e {go} ]; do sleep 0.05; done; touch {told}.finished; exit 0"
    return f"trap '{end}' TERM; while :; do sleep 0.05; done"


async def test_a_release_has_the_time_to_end_that_its_recipe_gives_it(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    told, go = tmp_path / "told", tmp_path / "go"
    a = server(region, tmp_path, "a", activate=stubborn(told, go), health="true", drain_s=60.0)
    b = server(region, tmp_path, "b")
    agent = agents(stop_grace_s=0.1)
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    goal = region.want(b, 2, baseline=a)
    await until(told.exists)
    await region.until(lambda: region.reports["m1", "web"].waiting_for == f"{a.ref.artifact} to end, within 60 s")
    assert running(agent), "the agent alone would have killed it long ago"
    go.touch()
    await region.reported(goal, "ACTIVE")
    assert Path(f"{told}.finished").exists()
    assert starts(agent) == ["b"]


async def test_whoever_stops_everything_is_told_what_takes_its_time(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    told, go, said = tmp_path / "told", tmp_path / "go", list[str]()
    a = server(region, tmp_path, "a", activate=stubborn(told, go), health="true", drain_s=60.0)
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    await agent.stop()
    stopping = asyncio.create_task(stop_services(agent.config.root, 0.1, said.append))
    await until(told.exists)
    assert said == [f"web (production) in {agent.config.root} to end, within 60 s"]
    go.touch()
    assert await stopping == 1
    assert Path(f"{told}.finished").exists()
    assert await stop_services(agent.config.root, 0.1, said.append) == 0
    assert len(said) == 1


async def test_a_rollback_does_not_wait_for_all_of_the_time_that_a_release_has_to_end(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    told, go = tmp_path / "told", tmp_path / "go"
    a = server(region, tmp_path, "a", activate=stubborn(told, go), health="true", drain_s=60.0)
    b = server(region, tmp_path, "b")
    agent = agents(stop_grace_s=0.5)
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    before = running(agent)
    region.want(b, 2, baseline=a)
    await until(told.exists)
    try:
        await region.reported(region.want(a, 3, baseline=a, rollback=True), "ACTIVE")
        assert running(agent) != before
        assert agent.current() == a.files
        assert not Path(f"{told}.finished").exists()
    finally:
        go.touch()


async def test_an_agent_that_stops_while_a_release_ends_leaves_it_the_usual_time_and_starts_the_next(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    told, never = tmp_path / "told", tmp_path / "never"
    taken_out = Hook('echo "$FLEETCAST_TO" >> "$FLEETCAST_DATA/taken-out"')
    hooks = {"deactivate": taken_out}
    a = server(region, tmp_path, "a", activate=stubborn(told, never), health="true", drain_s=60.0, hooks=hooks)
    b = server(region, tmp_path, "b")
    agent = agents(stop_grace_s=0.5)
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    goal = region.want(b, 2, baseline=a)
    await until(told.exists)
    await agent.stop()
    await until(lambda: starts(agent) == ["b"])
    pid = running(agent)
    region.reports.clear()
    await agent.start()
    await region.reported(goal, "ACTIVE")
    assert running(agent) == pid
    assert (agent.service() / "data" / "taken-out").read_text().splitlines() == [b.ref.artifact]


async def test_nobody_waits_for_a_release_to_end_that_never_was_in_service(region: Any, agents: Agents, tmp_path: Path) -> None:
    told, never = tmp_path / "told", tmp_path / "never"
    a = server(region, tmp_path, "a")
    sick = server(region, tmp_path, "b", activate=stubborn(told, never), health="exit 1", health_timeout_s=2.0, drain_s=900.0)
    agent = agents(stop_grace_s=2.0)
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    report = await region.reported(region.want(sick, 2, baseline=a), "FAILED")
    await region.until(lambda: region.reports["m1", "web"].running == a.ref)
    assert report.deployment == "d2"
    assert told.exists()
    assert starts(agent) == ["a", "a"]


async def test_a_release_that_never_was_healthy_does_not_go_on_running(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    """Nobody waits for it to end either: it was never in service."""
    stays = f'echo "$FLEETCAST_COMMIT $$" >> "$FLEETCAST_DATA/starts"; {stubborn(tmp_path / "told", tmp_path / "never")}'
    sick = server(region, tmp_path, "a", activate=stays, health="exit 1", health_timeout_s=2.0, drain_s=900.0)
    agent = agents(stop_grace_s=0.1)
    await agent.start()
    await region.reported(region.want(sick, 1), "FAILED")
    await until(lambda: not running(agent))
    assert starts(agent) == ["a"], "it did run"


async def test_the_newest_goal_wins_over_a_fetch_that_nobody_wants(region: Any, agents: Agents, tmp_path: Path) -> None:
    a, b, c = (server(region, tmp_path, commit) for commit in "abc")
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    region.origin_open = False
    await region.reported(region.want(b, 2, baseline=a), "FETCHING")
    region.want(c, 3, baseline=a)
    region.origin_open = True
    await region.reported(region.goals["web"], "ACTIVE")
    assert starts(agent) == ["a", "c"]
    names = {path.name for path in (agent.service() / "releases").iterdir()}
    assert names == {a.ref.digest, c.ref.digest}


async def test_the_newest_goal_wins_over_a_change_over_that_has_begun(region: Any, agents: Agents, tmp_path: Path) -> None:
    a, b = server(region, tmp_path, "a"), server(region, tmp_path, "b", health="exit 1", health_timeout_s=60.0)
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    await region.reported(region.want(b, 2, baseline=a), "ACTIVATING")
    back = await region.reported(region.want(a, 3, baseline=a, rollback=True), "ACTIVE")
    assert back.bytes == ByteCounts(local=a.root.content_size)
    assert starts(agent)[-1] == "a"
    assert agent.current() == a.files


async def test_services_do_not_wait_for_each_other(region: Any, agents: Agents, tmp_path: Path) -> None:
    slow = region.publish(
        tmp_path, {"x": "slow"}, service="slow", activate="exec sleep 60", health="exit 1", health_timeout_s=60.0
    )
    quick = region.publish(tmp_path, {"x": "quick"}, service="quick")
    agent = agents()
    await agent.start()
    await region.reported(region.want(slow, 1), "ACTIVATING")
    await region.reported(region.want(quick, 1), "ACTIVE")
    assert region.reports["m1", "slow"].phase == "ACTIVATING"


async def test_two_services_of_equal_files_fetch_them_once(region: Any, agents: Agents, tmp_path: Path) -> None:
    one = region.publish(tmp_path, {"x": LARGE}, service="one")
    two = region.publish(tmp_path, {"x": LARGE}, service="two")
    assert one.ref.digest == two.ref.digest
    agent = agents()
    await agent.start()
    goals = [region.want(one, 1), region.want(two, 1)]
    reports = [await region.reported(goal, "ACTIVE") for goal in goals]
    assert sorted(report.bytes.origin for report in reports) == [0, one.root.content_size]
    assert agent.current("one") == agent.current("two") == one.files


async def test_a_one_shot_is_done_once(region: Any, agents: Agents, tmp_path: Path) -> None:
    once = server(region, tmp_path, "a", activate='echo a >> "$FLEETCAST_DATA/starts"', health="")
    agent = agents()
    await agent.start()
    goal = region.want(once, 1)
    await region.reported(goal, "ACTIVE")
    await agent.stop()
    region.reports.clear()
    await agent.start()
    await region.reported(goal, "ACTIVE")
    assert starts(agent) == ["a"]


async def test_a_service_that_dies_is_started_again(region: Any, agents: Agents, tmp_path: Path, until: Until) -> None:
    a = server(region, tmp_path, "a", health="")
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    os.killpg(running(agent)[0], 9)
    await region.until(lambda: region.reports["m1", "web"].running is None)
    await until(lambda: starts(agent) == ["a", "a"])
    await region.until(lambda: region.reports["m1", "web"].running == a.ref)


async def test_with_the_region_away_everything_stays_as_it_is(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    a = server(region, tmp_path, "a", health="")
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    await agent.stop()
    alone = agents(region_url="http://127.0.0.1:9", root=agent.config.root)
    await alone.start()
    os.killpg(running(alone)[0], 9)
    await until(lambda: starts(alone) == ["a", "a"])
    assert alone.current() == a.files


async def test_only_one_agent_uses_a_directory(region: Any, agents: Agents) -> None:
    first = agents()
    await first.start()
    second = agents(root=first.config.root)
    with pytest.raises(Refused, match="another agent"):
        await second.start()
    second._task = None
