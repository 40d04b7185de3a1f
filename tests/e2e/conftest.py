"""Whole installations as real processes, looked at from outside."""

from __future__ import annotations

import json
import os
import queue
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from fleetcast.launch import installation, sweeper
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports

PROGRAM = (sys.executable, "-m", "fleetcast")
LINE_S_MAX = 90.0
END_S_MAX = 60.0


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = END_S_MAX) -> None:
    """Wait for a condition of other processes, which have no event for us."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.05)


class Run:
    """A ``fleetcast`` at work. ``lines`` is what it has said so far, standard output and error together."""

    def __init__(self, *arguments: str, temporary: Path, environ: Mapping[str, str] | None = None) -> None:
        # Nothing of this shell's that a stranger's has not: an unbuffered Python hides a line that is never flushed.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("FLEETCAST_", "PYTHON"))}
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment, "TMPDIR": str(temporary), **(environ or {})},
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str) -> str:
        """The first line from here on that has ``pattern`` (a regular expression) in it."""
        end = time.monotonic() + LINE_S_MAX
        while True:
            try:
                line = self._said.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                self._complain(f"did not say {pattern!r} within {LINE_S_MAX:g} s")
            if line is None:
                self._complain(f"ended without saying {pattern!r}")
            elif re.search(pattern, line):
                return line

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Its exit code."""
        code = self.process.wait(END_S_MAX)
        self._reader.join(END_S_MAX)
        return code

    def close(self) -> None:
        """However the test went."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(END_S_MAX)
        self._reader.join(END_S_MAX)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._said.put(self.lines[-1])
        self._said.put(None)

    def _complain(self, complaint: str) -> NoReturn:
        said = "\n".join(self.lines)
        pytest.fail(f"fleetcast {complaint}; it said:\n{said}")


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    return wait_until


@pytest.fixture(scope="session")
def start_run() -> Callable[..., Run]:
    return Run


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """For ``TMPDIR``. Whatever a failed test left in it is ended."""
    yield tmp_path
    for directory in tmp_path.iterdir():
        sweeper.end_processes(directory)


@pytest.fixture
def start(temporary: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def starting(*arguments: str) -> Run:
        runs.append(Run(*arguments, temporary=temporary))
        return runs[-1]

    yield starting
    for run in runs:
        run.close()


@dataclass(frozen=True)
class Told:
    """A demo that has run to its end, with ``--json --keep``."""

    directory: Path
    code: int
    figures: dict[str, Any]
    processes: dict[str, tuple[int, str]]
    """Process id and command line by name, seen while it ran."""
    lines: list[str]

    @property
    def deployments(self) -> list[dict[str, Any]]:
        deployments: list[dict[str, Any]] = self.figures["deployments"]
        return deployments


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """One run of ``fleetcast demo --json --keep``, as it comes."""
    temporary = tmp_path_factory.mktemp("demo")
    run = Run("demo", "--json", "--keep", temporary=temporary)
    try:
        directory = Path(run.wait_for("a company in ").rpartition(" ")[2].rstrip(":"))
        run.wait_for("all 12 machines report")
        processes = {}
        for file in (directory / "run").glob("*.ready"):
            pid = json.loads(file.read_text())["pid"]
            processes[file.stem] = (pid, Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        code = run.process.wait(240)
        run.end()
        yield Told(directory, code, json.loads(run.lines[-1]), processes, run.lines)
    finally:
        run.close()
        for left in temporary.iterdir():
            sweeper.end_processes(left)
            sweeper.remove(left)


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


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    return fleetcast


@pytest.fixture(scope="session")
def one_line() -> Callable[..., str]:
    return assert_one_line


@pytest.fixture(scope="session")
def failed() -> Callable[..., str]:
    return assert_failed


@pytest.fixture(scope="session")
def make_repository() -> Callable[..., Repository]:
    return Repository


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
    "control": {"replication_check_interval_s": 0.5},
    "region": {"kv_poll_interval_s": 0.5, "report_interval_s": 0.5, "agent_report_interval_s": 0.5},
}


@pytest.fixture(scope="module")
def start_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Place]]:
    """Starts a small installation that looks often, and knows its machines when it is returned. Ended with the module."""
    places: list[Place] = []

    def starting(
        machines: int = 1,
        regions: Sequence[str] = ("local",),
        control: Mapping[str, Any] | None = None,
        patch: str = "",
        reporting: int | None = None,
        edit: Callable[[Path], None] | None = None,
    ) -> Place:
        """``patch`` is Python that each process runs before anything of ours; ``edit`` gets the settings file; ``reporting``
        is how many of the machines are waited for, by default all."""
        temporary = tmp_path_factory.mktemp("place")
        directory = temporary / "fleetcast-data"
        ports = free_ports(Blueprint.ports_needed(len(regions), machines), "127.0.0.1", random.Random())
        pace = {**PACE, "control": {**PACE["control"], **(control or {})}}
        file = installation.create(directory, Blueprint(1, regions, machines, ports, **pace))
        if edit is not None:
            edit(file)
        environ = patched(temporary, patch)
        place = Place(directory, Run("up", str(directory), temporary=temporary, environ=environ), environ)
        places.append(place)
        place.run.wait_for("^ready")
        wait_until(
            lambda: sum(region["machines"] for region in place.json("status")["regions"]) == (reporting or machines),
            "machines report",
        )
        return place

    yield starting
    for place in places:
        for run in (*place.others, place.run):
            run.close()
        sweeper.end_processes(place.directory)
        sweeper.remove(place.directory)
