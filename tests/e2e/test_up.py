"""``fleetcast up`` and the command line against it, as a person uses them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetcast.cli.demo.repository import Commit, make_example
from fleetcast.launch import sweeper
from place import PACE, small_installation
from running import command_lines


class Installation:
    """A running ``fleetcast up`` with one region and two machines, and a repository to deploy from."""

    def __init__(self, directory: Path, run: Any, commits: tuple[Commit, ...]) -> None:
        self.directory = directory
        self.run = run
        self.commits = commits

    def fleetcast(self, *arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        settings = {"FLEETCAST_SETTINGS": str(self.directory / "settings.toml")}
        program = self.run.process.args[:3]
        known = {**os.environ, **settings, **(environ or {})}
        return subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=60, check=False, env=known)

    def pid(self, name: str) -> int:
        pid: int = json.loads((self.directory / "run" / f"{name}.ready").read_text())["pid"]
        return pid


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    temporary = tmp_path_factory.mktemp("up")
    commits = make_example(temporary / "web", 1 << 20)
    # A build looks at a file of its test.
    with small_installation(temporary / "fleetcast-data", 2, pace={**PACE, "worker": {"sandbox": "off"}}) as run:
        yield Installation(temporary / "fleetcast-data", run, commits)


def test_from_a_commit_to_machines_and_back(installed: Installation, until: Callable[..., None]) -> None:
    """One story, as every step needs the one before."""
    first, second, _ = installed.commits
    fleetcast = installed.fleetcast
    repository = str(installed.directory.parent / "web")

    assert fleetcast("deploy", f"web@{first.sha}").returncode == 3, "no such service yet"
    assert fleetcast("service", "add", "web", repository).returncode == 0
    assert repository in fleetcast("service", "list").stdout
    until(lambda: len(json.loads(fleetcast("machine", "list", "--json").stdout)) == 2, "both machines report")

    deployed = fleetcast("deploy", f"web@{first.sha}")
    assert deployed.returncode == 0, deployed.stderr
    assert "SUCCEEDED" in deployed.stdout
    again = json.loads(fleetcast("deploy", f"web@{second.sha}", "--json").stdout)
    assert (again["state"], again["progress"]["active"]) == ("SUCCEEDED", 2)
    assert "built 1," in fleetcast("logs", str(again["build"])).stdout
    assert "deployable" in fleetcast("artifact", "show", again["artifact"]).stdout
    assert again["id"] in fleetcast("status", "web").stdout
    assert "SUCCEEDED" in fleetcast("status", again["id"]).stdout

    back = json.loads(fleetcast("rollback", "web", "--json").stdout)
    assert (back["kind"], back["state"], back["commit_sha"]) == ("rollback", "SUCCEEDED", first.sha)
    refused = fleetcast("abort", back["id"])
    assert refused.returncode == 4, "it has ended"
    assert "Traceback" not in refused.stderr


def test_limits_are_changed_by_saving_the_settings(installed: Installation, until: Callable[..., None]) -> None:
    settings = installed.directory / "settings.toml"
    before, pid = settings.read_text(), installed.pid("agent-local-2")

    def log(name: str) -> list[dict[str, Any]]:
        lines = (installed.directory / "run" / f"{name}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def heard(name: str, event: str, **said: object) -> bool:
        return any(line["event"] == event and said.items() <= line.items() for line in log(name))

    text = before.replace('name = "local"', 'name = "local"\norigin_bytes_per_s = 50_000_000')
    settings.write_text(f"{text}upload_bytes_per_s = 25_000_000\n")
    changed = {"setting": "upload_bytes_per_s", "before": 0, "now": 25_000_000}
    until(lambda: heard("agent-local-2", "setting_changed", **changed), "the machine hears of it")
    changed = {"setting": "origin_bytes_per_s", "before": 0, "now": 50_000_000}
    until(lambda: heard("region-local", "setting_changed", **changed), "and the region of what is its own")
    settings.write_text(f"{text}upload_bytes_per_s = 25\n")
    until(lambda: heard("agent-local-2", "settings_refused"), "what cannot be is refused")
    settings.write_text(before)
    until(lambda: heard("agent-local-2", "setting_changed", before=25_000_000, now=0), "and the limit is lifted")
    assert installed.pid("agent-local-2") == pid, "nothing was started again"
    assert not [line for line in log("agent-local-1") if line["event"] == "setting_changed"], (
        "the other machine has no part in it"
    )


def test_an_agents_token_cannot_deploy(installed: Installation) -> None:
    """Whoever gets hold of a machine does not get hold of the fleet."""
    for role in ("agent", "region", "worker"):
        token = str(installed.directory / "secrets" / f"{role}.token")
        done = installed.fleetcast("deploy", f"web@{installed.commits[0].sha}", "--token-file", token)
        assert done.returncode == 4
        assert "wrong_role" in done.stderr


def test_a_commit_off_the_trunk_needs_to_be_asked_for(installed: Installation) -> None:
    installed.fleetcast("service", "add", "web", str(installed.directory.parent / "web"))
    loose = "git commit-tree HEAD^{tree} -m loose"
    who = {"GIT_AUTHOR_NAME": "Bo", "GIT_AUTHOR_EMAIL": "b@e", "GIT_COMMITTER_NAME": "Bo", "GIT_COMMITTER_EMAIL": "b@e"}
    made = subprocess.run(
        loose.split(),
        cwd=installed.directory.parent / "web",
        env={**os.environ, **who},
        capture_output=True,
        text=True,
        check=True,
    )
    done = installed.fleetcast("deploy", f"web@{made.stdout.strip()}")
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "main" in done.stdout


def test_a_deployment_is_followed_across_a_restart_of_control(installed: Installation) -> None:
    third = installed.commits[2]
    argv = [
        *installed.run.process.args[:3],
        "deploy",
        f"web@{third.sha}",
        "--settings",
        str(installed.directory / "settings.toml"),
    ]
    following = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert following.stdout is not None
    assert "BUILDING" in following.stdout.readline()
    os.kill(installed.pid("control"), signal.SIGKILL)
    out, error = following.communicate(timeout=60)
    assert following.returncode == 0, error
    assert "SUCCEEDED" in out


def test_a_log_is_followed_across_a_restart_of_control(installed: Installation, tmp_path: Path) -> None:
    repository, go = str(installed.directory.parent / "web"), tmp_path / "go"
    build = f"echo it begins; while [ ! -e {go} ]; do sleep 0.1; done; echo it goes on"
    assert installed.fleetcast("service", "add", "slow", repository, "--build", build, "--output", "page.html").returncode == 0
    ordered = installed.fleetcast("build", f"slow@{installed.commits[0].sha}", "--no-wait", "--json")
    argv = [
        *installed.run.process.args[:3],
        "logs",
        str(json.loads(ordered.stdout)["id"]),
        "--follow",
        "--settings",
        str(installed.directory / "settings.toml"),
    ]
    following = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert following.stdout is not None
    before = ""
    while "it begins\n" not in before:
        before += following.stdout.readline()
    os.kill(installed.pid("control"), signal.SIGKILL)
    go.touch()
    out, error = following.communicate(timeout=60)
    assert following.returncode == 0, error
    assert "it begins" not in out, "said once"
    assert "it goes on\n" in out


def test_a_region_is_drained_and_a_machine_that_reports_is_not_retired(installed: Installation) -> None:
    assert installed.fleetcast("drain", "local").returncode == 0
    assert "local (drained)" in installed.fleetcast("status").stdout
    for verb in (["deploy", f"web@{installed.commits[0].sha}"], ["rollback", "web"]):
        nowhere = installed.fleetcast(*verb)
        assert nowhere.returncode == 4
        assert "web's machines are all in drained regions (local): fleetcast drain local --undo" in nowhere.stderr
    assert installed.fleetcast("drain", "local", "--undo").returncode == 0
    assert "drained" not in installed.fleetcast("status").stdout
    assert installed.fleetcast("drain", "moon").returncode == 3
    assert "local-1" in installed.fleetcast("machine", "list").stdout
    refused = installed.fleetcast("machine", "retire", "local-1")
    assert refused.returncode == 4
    assert "stop its agent" in refused.stderr


def test_it_is_up_once(installed: Installation) -> None:
    before = installed.pid("control")
    again = installed.fleetcast("up", str(installed.directory))
    assert again.returncode == 4
    assert "fleetcast up runs in " in again.stderr
    assert "fleetcast up runs in " in installed.fleetcast("up", str(installed.directory / "settings.toml")).stderr
    assert "local" in installed.fleetcast("status", "--settings", str(installed.directory)).stdout
    assert installed.pid("control") == before
    assert installed.fleetcast("status").returncode == 0


def test_a_killed_process_is_started_again_where_it_was(installed: Installation, until: Callable[..., None]) -> None:
    before = (installed.directory / "run" / "region-local.ready").read_text()
    pid = installed.pid("region-local")
    os.kill(pid, signal.SIGKILL)
    installed.run.wait_for("region-local: ready")
    after = json.loads((installed.directory / "run" / "region-local.ready").read_text())
    assert after["pid"] != pid
    assert after["api"] == json.loads(before)["api"]


def test_stopped_the_services_stay_until_they_are_ended_too(installed: Installation) -> None:
    """The last test of this module: nothing is left to look at afterwards."""
    for place in (installed.directory, installed.directory / "settings.toml"):
        refused = installed.fleetcast("down", str(place))
        pid = installed.run.process.pid
        assert refused.returncode == 4, "not while it is up"
        assert f"(process {pid}): end it first (Ctrl-C there, or kill {pid})" in refused.stderr
    pids = [installed.pid(path.stem) for path in (installed.directory / "run").glob("*.ready")]
    assert len(pids) == 5
    installed.run.signal(signal.SIGINT)
    assert installed.run.end() == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert sum("server.py" in line for line in command_lines(installed.directory)) >= 2
    down = installed.fleetcast("down", str(installed.directory))
    assert (down.returncode, down.stdout) == (0, "2 services ended\n")
    assert sweeper.processes_of(installed.directory) == []
