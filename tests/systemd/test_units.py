"""A service that is a unit of systemd, on a machine that systemd runs, with an agent that is a unit itself.

Run by ``make test-lab`` in a machine of the lab (``python -m lab.systemd``), together with what holds for children as well.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent.supervisor import chosen
from fleetcast.agent.units import Units, hindrance
from fleetcast.model.machine import Selector

Until = Callable[[Callable[[], bool]], Awaitable[None]]

FILES = Path("/run/systemd/system")
AGENT = "lab-agent.service"
UNIT = """[Unit]
DefaultDependencies=no
[Service]
ExecStart={program} agent --settings {settings}
"""
SETTINGS = """[[agent]]
machine = "m1"
region = "eu"
region_url = "{url}"
token_file = "{token}"
directory = "{root}"
worker_public_keys = ["{key}"]
"""


def systemctl(*words: str) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def units(*more: str) -> list[str]:
    """Of the service, by name; those that have ended and were not forgotten are among them."""
    listed = systemctl("list-units", "--all", "--plain", "--full", "--no-legend", *more, "fleetcast-alone.production-*")
    return [line.split()[0] for line in listed.splitlines()]


def shown(unit: str, name: str) -> str:
    return systemctl("show", "--value", f"--property={name}", unit).strip()


@pytest.fixture
def agent(region: Any, tmp_path: Path) -> Iterator[Path]:
    """The directory of an agent that is a unit like any other: what is in it is killed when it ends."""
    assert hindrance() == ""
    dropin = FILES / "fleetcast-alone.production-.service.d" / "bound.conf"
    dropin.parent.mkdir()
    dropin.write_text("[Service]\nTasksMax=4321\n")
    token, settings, root = tmp_path / "token", tmp_path / "settings.toml", tmp_path / "m1"
    token.write_text("t" * 40)
    token.chmod(0o600)
    settings.write_text(SETTINGS.format(url=region.url, token=token, root=root, key=region.worker_public))
    (FILES / AGENT).write_text(UNIT.format(program=Path(sys.executable).with_name("fleetcast"), settings=settings))
    systemctl("daemon-reload")
    systemctl("start", AGENT)
    yield root
    systemctl("stop", AGENT)
    for unit in units():
        systemctl("stop", unit)
    for unit in units():
        systemctl("reset-failed", unit)
    for file in FILES.glob("fleetcast-alone.production-*@.service"):
        file.unlink()
    shutil.rmtree(dropin.parent)
    systemctl("daemon-reload")


async def test_a_service_is_a_unit_from_its_first_start_to_its_removal(
    region: Any, agent: Path, tmp_path: Path, until: Until
) -> None:
    recipe = {"service": "alone", "activate": 'echo "up $FLEETCAST_COMMIT"; exec sleep 600'}
    a, b = (region.publish(tmp_path, {"version": commit}, commit=commit, **recipe) for commit in "ab")
    await region.reported(region.want(a, 1), "ACTIVE")
    (first,) = units("--state=active")
    assert shown(first, "Description") == f"alone in production, run by Fleetcast in {agent}/services/production/alone"
    assert (shown(first, "TasksMax"), shown(first, "Slice")) == ("4321", "fleetcast.slice"), "operators bound what runs"
    log = agent / "services/production/alone/log/service.log"
    await until(lambda: log.read_text() == f"up {'a' * 40}\n")

    systemctl("kill", "--signal=SIGKILL", first)
    await region.until(lambda: region.reports["m1", "alone"].deaths == 1)
    await until(lambda: first not in units() and len(log.read_text().splitlines()) == 2)
    (second,) = units("--state=active")

    process = shown(second, "MainPID")
    systemctl("kill", "--signal=SIGKILL", AGENT)
    await until(lambda: shown(AGENT, "ActiveState") == "failed")
    assert (units(), shown(second, "MainPID")) == ([second], process), "the end of its agent is nothing to it"
    heard = region.heard
    systemctl("start", AGENT)
    await region.until(lambda: region.heard > heard + 1)
    assert (units(), shown(second, "MainPID")) == ([second], process), "nor is the next one's beginning"

    goal = region.want(b, 2, baseline=a)
    await region.reported(goal, "ACTIVE")
    (third,) = units()
    assert third != second
    assert shown(third, "ActiveState") == "active"

    region.set_goals(alone=replace(goal, generation=goal.generation.next(), selector=Selector(), removed=True))
    await region.until(lambda: (told := region.reports["m1", "alone"]).removed and told.phase == "ACTIVE")
    await until(lambda: units() == [] and list(FILES.glob("fleetcast-alone.*@*")) == [])


@pytest.mark.parametrize("word", ["stop", "restart"])
async def test_one_that_is_stopped_by_hand_comes_back_even_if_it_ends_in_good_order(
    region: Any, agent: Path, tmp_path: Path, until: Until, word: str
) -> None:
    activate = """trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done"""
    a = region.publish(tmp_path, {"version": "a"}, commit="a", service="alone", activate=activate)
    await region.reported(region.want(a, 1), "ACTIVE")
    log = agent / "services/production/alone/log/service.log"
    await until(lambda: log.read_text() == "up\n")
    (first,) = units("--state=active")
    # Not asserted: where the agent is quicker it takes back the start that systemd had begun.
    await asyncio.to_thread(subprocess.run, ["systemctl", word, first], capture_output=True, check=False)
    # Its shell may say in between that what it waited for was ended.
    await until(lambda: log.read_text().splitlines().count("up") == 2)
    await until(lambda: first not in units() and len(units("--state=active")) == 1)
    await region.reported(region.goals["alone"], "ACTIVE")


def test_systemd_is_chosen_where_it_runs_the_machine() -> None:
    assert isinstance(chosen("auto", 1.0), Units)
    assert isinstance(chosen("systemd", 1.0), Units)
    assert not isinstance(chosen("children", 1.0), Units)


def test_it_is_not_where_it_could_not_start_the_agents_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hindrance() == ""
    monkeypatch.setattr(sys, "executable", "/opt/$HOME/bin/python")
    assert hindrance() == "the path of the agent's Python has a $ in it"


@pytest.mark.parametrize(
    ("around", "why"),
    [
        (("unshare", "--net"), "the agent has a network of its own"),
        (("unshare", "--mount"), "the agent has file systems of its own"),
        (("unshare", "--pid", "--fork"), "the agent has processes of its own"),
        (
            ("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
            "the agent may not see where systemd is (/proc/1/ns/net: Permission denied)",
        ),
    ],
)
def test_it_is_not_where_its_units_would_be_elsewhere(around: tuple[str, ...], why: str) -> None:
    asking = "from fleetcast.agent.units import hindrance; print(hindrance())"
    said = subprocess.run([*around, sys.executable, "-c", asking], capture_output=True, text=True, check=True)
    assert said.stdout == f"{why}\n"
