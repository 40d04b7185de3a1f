"""Whole installations as real processes, looked at from outside."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleetcast.launch import sweeper
from place import Place, Repository, assert_failed, assert_one_line, bring_up, fleetcast
from running import Run, wait_until


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
        """As :func:`place.bring_up`; ``reporting`` is how many of the machines are waited for, by default all."""
        place = bring_up(tmp_path_factory.mktemp("place"), machines, regions, control, patch, edit)
        places.append(place)
        place.run.wait_for("^ready")
        place.wait_for_machines(reporting or machines)
        return place

    yield starting
    for place in places:
        place.close()
