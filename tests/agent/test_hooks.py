"""Hooks of releases on a real machine's agent: when they are run, what they see, and what comes of those that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent import spawning
from fleetcast.agent.hooks import HookFailed, HookRunner
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.processes import ServiceProcess
from fleetcast.model.hooks import Hook, HookName
from fleetcast.model.limits import FAILURE_LINES_MAX, HOOK_LOG_BYTES_MAX
from fleetcast.model.machine import Selector
from fleetcast.model.permit import PermitDecision

Until = Callable[[Callable[[], bool]], Awaitable[None]]
Agents = Callable[..., Any]

SAY = 'echo "$FLEETCAST_HOOK ${FLEETCAST_COMMIT%${FLEETCAST_COMMIT#?}}" >> "$FLEETCAST_DATA/said"'
SERVER = "\n".join(
    (
        f"say() {{ FLEETCAST_HOOK=$1; {SAY}; }}",
        "trap 'say stop; exit 0' TERM",
        "say start",
        "while :; do sleep 0.02; done",
    )
)
ALL = {str(name): Hook(SAY) for name in HookName}


def web(region: Any, source: Path, commit: str, **more: Any) -> Any:
    recipe = {"activate": SERVER, "health": f"FLEETCAST_HOOK=health; {SAY}", "hooks": ALL, **more}
    return region.publish(source, {"version": commit}, commit=commit, **recipe)


def said(agent: Any) -> list[str]:
    path = agent.service() / "data" / "said"
    return path.read_text().splitlines() if path.exists() else []


def pid(agent: Any) -> int | None:
    instance = ServiceProcess(ServiceLayout(agent.service())).instance
    return instance.process.pid if instance is not None and spawning.alive(instance.process) else None


async def test_each_is_run_at_its_moment(region: Any, agents: Agents, tmp_path: Path) -> None:
    a, b = web(region, tmp_path, "a"), web(region, tmp_path, "b")
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    goal = region.want(b, 2, baseline=a)
    await region.reported(goal, "ACTIVE")
    expected = ["pre_fetch a", "pre_activate a", "start a", "health a", "post_activate a"]
    expected += ["pre_fetch b", "pre_activate b", "deactivate a", "stop a", "start b", "health b", "post_activate b"]
    assert _ordered(said(agent)) == _ordered(expected)
    gone = replace(goal, generation=goal.generation.next(), selector=Selector(), removed=True)
    region.set_goals(web=gone)
    await region.until(lambda: (r := region.reports["m1", "web"]).removed and r.phase == "ACTIVE")
    assert _ordered(said(agent)) == _ordered([*expected, "deactivate b", "stop b"])


def _ordered(lines: list[str]) -> list[str]:
    """``start`` and ``health`` of one release may come in either order, and its health is asked until it is well."""
    return [line for line in lines if not line.startswith("health")]


async def test_what_they_see(region: Any, agents: Agents, tmp_path: Path) -> None:
    show = Hook('env > "$FLEETCAST_DATA/$FLEETCAST_HOOK.env"; pwd >> "$FLEETCAST_DATA/$FLEETCAST_HOOK.env"')
    a = web(region, tmp_path, "a", hooks={"deactivate": show}, environment={"MODE": "fast"})
    b = web(region, tmp_path, "b", hooks={"pre_fetch": show, "pre_activate": show})
    agent = agents(environment={"PORT": "80"})
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    await region.reported(region.want(b, 2, baseline=a), "ACTIVE")
    data = agent.service() / "data"
    seen = {name: (data / f"{name}.env").read_text().splitlines() for name in ("pre_fetch", "pre_activate", "deactivate")}
    both = {f"FLEETCAST_FROM={a.ref.artifact}", f"FLEETCAST_TO={b.ref.artifact}", "FLEETCAST_DEPLOYMENT=d2", "PORT=80"}
    assert all(both <= set(lines) for lines in seen.values())
    assert {"MODE=fast", f"FLEETCAST_ARTIFACT={a.ref.artifact}"} <= set(seen["deactivate"])
    assert f"FLEETCAST_ARTIFACT={b.ref.artifact}" in seen["pre_activate"]
    assert seen["pre_activate"][-1] == str(agent.service() / "releases" / b.ref.digest / "tree")
    assert seen["pre_fetch"][-1] == str(data), "there is no release yet"
    assert not any(line.startswith("FLEETCAST_RELEASE=") for line in seen["pre_fetch"])


async def test_a_failing_pre_activate_stops_nothing_that_runs(region: Any, agents: Agents, tmp_path: Path) -> None:
    a = web(region, tmp_path, "a")
    b = web(region, tmp_path, "b", hooks={"pre_activate": Hook("seq 30; echo the schema is too old >&2; exit 3")})
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    process, asked = pid(agent), len(region.asked)
    goal = region.want(b, 2, baseline=a)
    report = await region.reported(goal, "FAILED")
    assert report.error == "pre_activate exited with 3: the schema is too old"
    assert report.output == (*map(str, range(22, 31)), "the schema is too old")
    assert len(report.output) == FAILURE_LINES_MAX
    assert (report.running, pid(agent), agent.current()) == (a.ref, process, a.files)
    assert len(region.asked) == asked, "no permit was asked for"
    assert (agent.service() / "log" / "pre_activate.log").read_text().splitlines()[-1].startswith("== exited with 3 after")
    await agent.stop()
    region.reports.clear()
    await agent.start()
    assert (await region.reported(goal, "FAILED")).output == report.output, "the next agent knows it too"
    assert pid(agent) == process


async def test_it_is_run_before_a_permit_is_there(region: Any, agents: Agents, tmp_path: Path, until: Until) -> None:
    a, b = web(region, tmp_path, "a"), web(region, tmp_path, "b")
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    region.permit = lambda request: PermitDecision(not request.available, 0.05, "3 of at most 3 machines of web are down")
    goal = region.want(b, 2, baseline=a)
    await region.until(lambda: region.reports["m1", "web"].waiting_for.endswith("are down"))
    assert said(agent)[-1] == "pre_activate b"
    region.permit = lambda _: PermitDecision(True, 60.0, "")
    await region.reported(goal, "ACTIVE")
    assert said(agent).count("pre_activate b") == 1


async def test_a_failing_post_activate_is_a_failed_release(region: Any, agents: Agents, tmp_path: Path) -> None:
    a = web(region, tmp_path, "a")
    b = web(region, tmp_path, "b", hooks={**ALL, "post_activate": Hook("echo no such pool; exit 1")})
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    report = await region.reported(region.want(b, 2, baseline=a), "FAILED")
    assert report.error == "post_activate exited with 1: no such pool"
    await region.until(lambda: region.reports["m1", "web"].running == a.ref)
    assert agent.current() == a.files
    after = _ordered(said(agent))
    assert after[after.index("start b") + 1 :] == ["stop b", "start a", "post_activate a"], "b never was in service"


async def test_a_failing_deactivate_holds_up_nothing_and_is_told(region: Any, agents: Agents, tmp_path: Path) -> None:
    a = web(region, tmp_path, "a", hooks={"deactivate": Hook("echo no answer; exit 7")})
    b = web(region, tmp_path, "b")
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    await region.reported(region.want(b, 2, baseline=a), "ACTIVE")
    await region.until(lambda: f"{a.ref.artifact}: deactivate exited with 7: no answer" in region.alarms)


async def test_a_machine_that_is_not_ready_fetches_once_it_is(region: Any, agents: Agents, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    a = web(region, tmp_path, "a", hooks={"pre_fetch": Hook(f"test -e {ready} || {{ echo the disk is full; exit 1; }}")})
    agent = agents()
    await agent.start()
    goal = region.want(a, 1)
    await region.until(lambda: "the disk is full" in getattr(region.reports.get(("m1", "web")), "error", ""))
    report = region.reports["m1", "web"]
    assert (report.phase, report.error) == ("FETCHING", "pre_fetch exited with 1: the disk is full")
    assert report.output == ("the disk is full",)
    assert region.leased == 0
    ready.touch()
    await region.reported(goal, "ACTIVE")


async def test_what_is_not_wanted_any_more_is_ended(region: Any, agents: Agents, tmp_path: Path, until: Until) -> None:
    a = web(region, tmp_path, "a")
    stuck = web(region, tmp_path, "b", hooks={"pre_activate": Hook('echo $$ > "$FLEETCAST_DATA/stuck"; exec sleep 60')})
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    region.want(stuck, 2, baseline=a)
    path = agent.service() / "data" / "stuck"
    await region.until(lambda: region.reports["m1", "web"].waiting_for == f"pre_activate of {stuck.ref.artifact}")
    await until(lambda: path.exists() and path.read_text().endswith("\n"))
    process = spawning.identify(int(path.read_text()))
    await region.reported(region.want(a, 3, baseline=a), "ACTIVE")
    assert not spawning.alive(process)


@pytest.fixture
def layout(tmp_path: Path) -> ServiceLayout:
    layout = ServiceLayout(tmp_path / "service")
    layout.make()
    return layout


async def run(layout: ServiceLayout, command: str, timeout_s: float = 20.0) -> None:
    environment = {"PATH": "/usr/bin:/bin"}
    await HookRunner(layout).run(HookName.PRE_ACTIVATE, Hook(command, timeout_s), "web/a", layout.base, environment)


def ended(file: Path) -> bool:
    """Whether the process whose number is in ``file`` has ended."""
    found = spawning.facts(int(file.read_text()))
    return found is None or found.dead


async def test_at_the_time_limit_all_of_it_is_ended(layout: ServiceLayout) -> None:
    stubborn = "trap '' TERM; echo $$ > one; setsid sleep 61 & echo $! > two; sleep 62 & echo $! > three; echo waiting; wait"
    with pytest.raises(HookFailed) as failed:
        await run(layout, stubborn, 2.0)
    assert str(failed.value) == "pre_activate did not end within 2 s: waiting"
    for name in ("one", "two", "three"):
        assert ended(layout.base / name)
    assert not list(layout.run.iterdir())


async def test_what_it_leaves_in_the_background_ends_with_it(layout: ServiceLayout) -> None:
    await run(layout, "sleep 61 & echo $! > left")
    assert ended(layout.base / "left")


async def test_its_output_is_bounded_and_the_end_of_it_kept(layout: ServiceLayout) -> None:
    await run(layout, "yes fill | head -c 3000000; echo the end")
    kept = [path.read_bytes() for path in sorted(layout.log.glob("pre_activate.log*"))]
    await run(layout, "true")
    assert b"the end\n" in b"".join(kept)
    assert (layout.log / "pre_activate.log").stat().st_size <= HOOK_LOG_BYTES_MAX


async def test_a_hook_that_was_left_by_a_killed_agent_is_ended_first(layout: ServiceLayout, until: Until) -> None:
    running = asyncio.create_task(run(layout, "echo $$ > one; exec sleep 60"))
    path = layout.base / "one"
    await until(lambda: path.exists() and path.read_text().endswith("\n"))
    record = layout.run / "hook-pre_activate.json"
    assert record.exists()
    process = spawning.identify(int(path.read_text()))
    await HookRunner(layout).end_leftovers()
    assert not spawning.alive(process)
    assert not record.exists()
    with pytest.raises(HookFailed):
        await running
