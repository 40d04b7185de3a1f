"""The commands about the fleet, against a whole installation: labels, single machines, regions, services that go."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetcast.cli.demo.repository import Commit, make_example
from place import small_installation
from running import PROGRAM, command_lines

Fleetcast = Callable[..., subprocess.CompletedProcess[str]]


class Fleet:
    """A running ``fleetcast up``: one region ``local``, machines ``local-1`` and ``local-2``."""

    def __init__(self, directory: Path, commits: tuple[Commit, ...]) -> None:
        self.directory = directory
        self.repository = str(directory.parent / "web")
        self.commits = commits

    def __call__(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        known = {**os.environ, "FLEETCAST_SETTINGS": str(self.directory / "settings.toml")}
        how: dict[str, Any] = {"stdin": subprocess.DEVNULL, "text": True, "timeout": 60, "check": False, **more}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.run([*PROGRAM, *arguments], env=known, **pipes, **how)

    def told(self, *arguments: str) -> Any:
        """What it prints as JSON, on success."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def typed(self, answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """On a terminal, where somebody types ``answer``."""
        ours, theirs = pty.openpty()
        try:
            os.write(ours, f"{answer}\n".encode())
            return self(*arguments, stdin=theirs)
        finally:
            os.close(theirs)
            os.close(ours)

    def service(self, machine: str) -> Path:
        return self.directory / "machines" / machine / "services" / "production" / "web"

    def servers(self) -> int:
        """How many machines run the service."""
        return sum("server.py" in line.split("\0") for line in command_lines(self.directory))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    temporary = tmp_path_factory.mktemp("fleet")
    commits = make_example(temporary / "web", 1 << 20)
    with small_installation(temporary / "fleetcast-data", 2):
        yield Fleet(temporary / "fleetcast-data", commits)


def test_labels_decide_where_a_service_runs(fleet: Fleet, until: Callable[..., None]) -> None:
    """The first test of this module: it leaves ``web`` running on ``local-1`` alone."""
    until(lambda: fleet("machine", "show", "local-2").returncode == 0, "both machines are known")
    assert fleet("service", "add", "web", fleet.repository, "--label", "role=web").returncode == 0
    nowhere = fleet("deploy", f"web@{fleet.commits[0].sha}")
    assert (nowhere.returncode, "selects no machine" in nowhere.stderr) == (4, True)

    labelled = fleet("machine", "label", "local-1", "role=web", "tier=front")
    assert "role=web (given" in labelled.stdout
    until(lambda: "tier" in fleet.told("machine", "show", "local-1")["machine"]["labels"], "the machine takes them up")
    assert "tier=front (taken away" in fleet("machine", "label", "local-1", "tier-").stdout
    until(lambda: fleet.told("machine", "show", "local-1")["machine"]["labels"] == {"role": "web"}, "and leaves one off")
    assert fleet("machine", "label", "local-1").stdout == "machine local-1: role=web (given)\n"

    deployed = fleet.told("deploy", f"web@{fleet.commits[0].sha}")
    assert (deployed["state"], deployed["progress"]["total"]) == ("SUCCEEDED", 1)
    assert (fleet.servers(), fleet.service("local-2").exists()) == (1, False)


def test_a_machine_says_what_it_runs(fleet: Fleet) -> None:
    shown = fleet("machine", "show", "local-1").stdout
    assert "machine local-1 in local; joined" in shown
    assert f"web      {fleet.commits[0].sha[:12]}" in shown
    assert "ACTIVE" in shown
    assert "no service has a goal for it" in fleet("machine", "show", "local-2").stdout
    assert fleet("machine", "show", "local-9").returncode == 3


def test_status_of_whatever_has_a_name(fleet: Fleet) -> None:
    deployment = fleet.told("status", "web")[0]["id"]
    for what, says in {
        "web": "ago",
        "service:web": deployment,
        deployment: "triggered",
        deployment[:6]: "triggered",
        f"deployment:{deployment[:6]}": "triggered",
        "local": "region local: 2 machines",
        "region:local": "no deployment is under way here",
        "local-1": "machine local-1 in local",
    }.items():
        done = fleet("status", what)
        assert (done.returncode, says in done.stdout) == (0, True), f"{what}: {done.stdout}{done.stderr}"
        assert fleet.told("status", what)
    for unknown, says in {
        "wbe": "did you mean web (service)?",
        "local-7": "local-1 (machine)",
        "machine:web": "no machine",
    }.items():
        done = fleet("status", unknown)
        assert (done.returncode, says in done.stderr) == (3, True), done.stderr
    fleet("service", "add", "local", fleet.repository)
    both = fleet("status", "local")
    assert (both.returncode, "write service:local or region:local" in both.stderr) == (2, True), both.stderr
    assert fleet("service", "remove", "local", "--yes").stdout == "service local is removed: it runs nowhere\n"


def test_a_service_or_the_beginning_of_an_id_stands_for_a_deployment_and_its_build(fleet: Fleet) -> None:
    deployment = fleet.told("status", "web")[0]
    for what in ("web", deployment["id"][:6], deployment["id"]):
        assert f"{deployment['build']} (" in fleet("status", "web").stdout
        assert f", build {deployment['build']}, rolled out by all-at-once\n" in fleet("status", deployment["id"]).stdout
        assert fleet.told("watch", what)["id"] == deployment["id"]
        refused = fleet("abort", what)
        assert (refused.returncode, deployment["id"] in refused.stderr) == (4, True), refused.stderr
        assert fleet("logs", what).stdout == fleet("logs", str(deployment["build"])).stdout != ""
    assert "no service or deployment" in fleet("logs", "99999999").stderr
    assert "local-1 is a machine, no service or deployment" in fleet("watch", "local-1").stderr


def test_a_slip_in_a_service_s_name_is_told_what_was_meant(fleet: Fleet) -> None:
    for verb in (["deploy", "wbe@main"], ["build", "wbe@main"], ["rollback", "wbe"], ["logs", "wbe"], ["watch", "wbe"]):
        done = fleet(*verb)
        assert done.returncode == 3
        assert "did you mean" in done.stderr, done.stderr
    for verb in (["show", "wbe"], ["remove", "wbe", "--yes"]):
        done = fleet("service", *verb)
        assert (done.returncode, "there is no service 'wbe': did you mean 'web'?" in done.stderr) == (3, True), done.stderr
    assert "fleetcast service add payments REPOSITORY makes it" in fleet("service", "show", "payments").stderr


@pytest.mark.parametrize("changes", [["role"], ["=x"], ["role=a", "role-"], ["a b=c"], ["role=" + "x" * 500]])
def test_labels_that_make_no_sense(fleet: Fleet, changes: list[str]) -> None:
    done = fleet("machine", "label", "local-1", *changes)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert fleet("machine", "label", "local-1").stdout == "machine local-1: role=web (given)\n"


def test_a_service_goes_and_comes_back(fleet: Fleet, until: Callable[..., None]) -> None:
    """The last test of this module."""
    base = fleet.service("local-1")
    (base / "data" / "precious").write_text("kept")
    unasked = fleet("service", "remove", "web")
    assert (unasked.returncode, "say --yes" in unasked.stderr) == (2, True)
    mistyped = fleet.typed("wbe", "service", "remove", "web")
    assert (mistyped.returncode, "nothing was removed" in mistyped.stderr) == (4, True), mistyped.stderr
    assert fleet.servers() == 1

    gone = fleet.typed("web", "service", "remove", "web")
    assert (gone.returncode, "1 machine stops it" in gone.stdout) == (0, True), gone.stderr
    until(lambda: fleet.servers() == 0, "the process ends")
    until(lambda: "GONE" in fleet("machine", "show", "local-1").stdout, "the machine says so")
    assert not (base / "current").is_symlink()
    assert not list((base / "releases").iterdir())
    assert (base / "data" / "precious").read_text() == "kept"
    assert (base / "log" / "service.log").exists()
    assert not fleet.service("local-2").exists()

    unknown = fleet("deploy", f"web@{fleet.commits[1].sha}")
    assert (unknown.returncode, "fleetcast service add web" in unknown.stderr) == (3, True)
    history = fleet("status", "web")
    assert "was removed" in history.stdout
    assert "SUCCEEDED" in history.stdout

    assert fleet("service", "add", "web", fleet.repository).returncode == 0
    again = fleet.told("deploy", f"web@{fleet.commits[1].sha}")
    assert (again["state"], again["progress"]["active"]) == ("SUCCEEDED", 2)
    assert fleet.servers() == 2
    assert (base / "data" / "precious").read_text() == "kept"
