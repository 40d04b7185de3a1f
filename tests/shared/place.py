"""A running installation, repositories to deploy from, and what a person sees of both: for tests of bad input."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetcast.http.tokens import Role, load, token_path
from fleetcast.launch import installation, sweeper
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports
from running import END_S_MAX, PROGRAM, Run, wait_until


class Repository:
    """A working repository whose commits replace files."""

    def __init__(self, path: Path, form: str = "sha1") -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main", f"--object-format={form}")

    def git(self, *arguments: str) -> str:
        who = {f"GIT_{role}_{what}": "a@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"], **who}
        ended = subprocess.run(["git", *arguments], cwd=self.path, env=environment, check=True, capture_output=True, text=True)
        return ended.stdout.strip()

    def commit(self, files: Mapping[str, str | bytes], message: str = "a change") -> str:
        for name, content in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


@dataclass(frozen=True)
class Place:
    """A directory with a running ``fleetcast up`` in it, and the command line pointed at it."""

    directory: Path
    run: Run
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of its processes and of the command line."""
    others: list[Run] = field(default_factory=list)

    def start(self, *arguments: str) -> Run:
        """Another process, ended with the place."""
        self.others.append(Run(*arguments, temporary=self.directory.parent, environ=self.environment))
        return self.others[-1]

    def fleetcast(self, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        settings = {"FLEETCAST_SETTINGS": str(self.directory / "settings.toml")}
        return fleetcast(*arguments, environ={**settings, **self.environment, **(environ or {})})

    def json(self, *arguments: str) -> Any:
        done = self.fleetcast(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def asked(self, path: str) -> Any:
        """What control answers. For waiting: a command line each time would keep a core busy with beginning."""
        token = load(token_path(self.directory / "secrets", Role.ADMIN))
        request = urllib.request.Request(f"{self.url}{path}", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=END_S_MAX) as answer:
            return json.load(answer)

    @property
    def url(self) -> str:
        """Of control."""
        return str(self._ready("control")["api"])

    def pid(self, name: str) -> int:
        return int(self._ready(name)["pid"])

    def _ready(self, name: str) -> Any:
        return json.loads((self.directory / "run" / f"{name}.ready").read_text())

    def log(self, name: str) -> str:
        return (self.directory / "run" / f"{name}.log").read_text()

    def wait_for_machines(self, count: int) -> None:
        """Until so many are known to report."""

        wait_until(
            lambda: sum(region["machines"] for region in self.asked("/v1/status")["regions"]) == count, "machines report"
        )

    def end(self) -> None:
        """Nothing of it runs any more. Its directory is left."""
        for run in (*self.others, self.run):
            run.close()
        sweeper.end_processes(self.directory)

    def close(self) -> None:
        self.end()
        sweeper.remove(self.directory)

    def tracebacks(self) -> list[str]:
        """Lines of the processes' logs that carry one, or complain of what somebody else did with a defect of ours."""
        logs = [line for path in (self.directory / "run").glob("*.log") for line in path.read_text().splitlines()]
        return [line for line in logs if "Traceback" in line or '"exception"' in line]

    def good(self, service: str = "good") -> None:
        """The system still takes a good commit to its machines."""
        repository = self.directory.parent / f"repository-{service}"
        if not repository.exists():
            Repository(repository)
            recipe = ("--build", "date +%N > out", "--output", "out")
            assert self.fleetcast("service", "add", service, str(repository), *recipe).returncode == 0
        sha = Repository.commit(_reopened(repository), {"when": str(time.time_ns())})
        done = self.fleetcast("deploy", f"{service}@{sha}")
        assert (done.returncode, done.stderr) == (0, "")
        assert "SUCCEEDED" in done.stdout


def bring_up(
    temporary: Path,
    machines: int = 1,
    regions: Sequence[str] = ("local",),
    control: Mapping[str, Any] | None = None,
    patch: str = "",
    edit: Callable[[Path], None] | None = None,
) -> Place:
    """A small installation that looks often, begun: wait for what it says. ``patch`` is Python that each process runs before
    anything of ours; ``edit`` gets the settings file."""
    directory = temporary / "fleetcast-data"
    ports = free_ports(Blueprint.ports_needed(len(regions), machines), "127.0.0.1", random.Random())
    pace = {**PACE, "control": {**PACE["control"], **(control or {})}}
    file = installation.create(directory, Blueprint(1, regions, machines, ports, **pace))
    if edit is not None:
        edit(file)
    environ = patched(temporary, patch)
    return Place(directory, Run("up", str(directory), temporary=temporary, environ=environ), environ)


@contextmanager
def small_installation(
    directory: Path,
    machines: int,
    regions: Sequence[str] = ("local",),
    pace: Mapping[str, Mapping[str, Any]] | None = None,
    flags: Sequence[str] = (),
    ready: str = "^ready",
) -> Iterator[Run]:
    """A small installation in ``directory`` that is up when it says ``ready``; nothing is left of it. ``pace``: by default,
    it looks often."""
    ports = free_ports(Blueprint.ports_needed(len(regions), machines), "127.0.0.1", random.Random())
    installation.create(directory, Blueprint(1, regions, machines, ports, **(pace or PACE)))
    run = Run("up", str(directory), *flags, temporary=directory.parent)
    try:
        run.wait_for(ready)
        yield run
    finally:
        run.close()
        sweeper.end_processes(directory)
        sweeper.remove(directory)


def show_gates(settings: Path) -> None:
    """Builds look at files beside the installation: no sandbox hides them."""
    settings.write_text(settings.read_text().replace("[[worker]]\n", '[[worker]]\nsandbox = "off"\n'))


def _reopened(path: Path) -> Repository:
    repository = Repository.__new__(Repository)
    repository.path = path
    return repository


def fleetcast(*arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """One command, as a person types it; 60 s at most."""
    known = {key: value for key, value in os.environ.items() if not key.startswith(("FLEETCAST_", "PYTHON"))}
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**known, **(environ or {})},
        stdin=subprocess.DEVNULL,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> str:
    """A command ended with ``code`` and one line of error that has all ``parts`` (regular expressions) in it."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert re.search(part, lines[0]), lines[0]
    return lines[0]


def assert_failed(done: subprocess.CompletedProcess[str], *parts: str) -> str:
    """A deployment was followed to its end and FAILED; its last line says why, with all ``parts`` in it."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert "FAILED: " in last
    for part in parts:
        assert re.search(part, last), last
    return last


def patched(directory: Path, python: str) -> dict[str, str]:
    """The environment in which every Python begins with these lines, so that a process can be given another clock or version
    than ours without a back door in it. The processes' own command line is in ``sys.orig_argv``."""
    if not python:
        return {}
    place = directory / "patch"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(python)
    return {"PYTHONPATH": str(place)}


PACE: Mapping[str, Mapping[str, Any]] = {
    "control": {"replication_check_interval_s": 0.5, "build_retry_s": 0.5},
    "region": {"kv_poll_interval_s": 0.5, "report_interval_s": 0.5, "agent_report_interval_s": 0.5},
}
