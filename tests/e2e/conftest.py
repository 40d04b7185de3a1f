"""Whole installations as real processes, looked at from outside."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from fleetcast.launch import sweeper

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

    def __init__(self, *arguments: str, temporary: Path) -> None:
        # Nothing of this shell's that a stranger's has not: an unbuffered Python hides a line that is never flushed.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("FLEETCAST_", "PYTHON"))}
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment, "TMPDIR": str(temporary)},
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
