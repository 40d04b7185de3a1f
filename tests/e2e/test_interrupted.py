"""A demo that is interrupted, at whatever moment, leaves no process and no directory."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetcast.launch import sweeper

SMALL = ("--machines", "2", "--regions", "1", "--size", "1MiB")
Start = Callable[..., Any]


def nothing_left(temporary: Path) -> bool:
    return not list(temporary.glob("fleetcast-demo-*")) and not sweeper.processes_of(temporary)


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("a company in", signal.SIGINT),
        ("control is up", signal.SIGTERM),
        ("A BUILDING", signal.SIGINT),
        ("B BUILDING", signal.SIGINT),  # services run by now, in sessions of their own
    ],
)
def test_interrupted(start: Start, temporary: Path, moment: str, number: int) -> None:
    demo = start("demo", *SMALL)
    demo.wait_for(moment)
    demo.signal(number)
    demo.wait_for("clearing up")
    demo.signal(signal.SIGINT)  # once more, in the middle of clearing up
    assert demo.end() == 130
    assert nothing_left(temporary)
    assert "Traceback" not in "\n".join(demo.lines)
    assert "nothing is left behind" in demo.lines[-1]


def test_killed(start: Start, temporary: Path, until: Callable[..., None]) -> None:
    demo = start("demo", *SMALL)
    demo.wait_for("A SUCCEEDED")
    assert sweeper.processes_of(temporary)
    demo.signal(signal.SIGKILL)
    demo.process.wait()
    until(lambda: nothing_left(temporary), "a killed demo's processes and directory are gone")


def test_a_commit_on_no_branch_of_somebody_elses_repository(start: Start, temporary: Path) -> None:
    repository = temporary / "Their Repo.git"
    repository.mkdir()

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=Bo", "-c", "user.email=bo@example.org")
        done = subprocess.run(["git", *who, *arguments], cwd=repository, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch=trunk")
    (repository / "greeting").write_text("hello")
    git("add", "greeting")
    git("commit", "--quiet", "--message=On the trunk")
    git("checkout", "--quiet", "--detach")
    (repository / "greeting").write_text("hello from nowhere")
    git("commit", "--quiet", "--all", "--message=On no branch")
    loose = git("rev-parse", "HEAD")
    git("checkout", "--quiet", "trunk")

    recipe = ("--build", "mkdir out && cp greeting out/", "--output", "out", "--health", "grep -q nowhere greeting")
    where = ("--repo", str(repository), "--sha", loose, "--machines", "1", "--regions", "1")
    demo = start("demo", *where, *recipe, "--json")
    assert demo.end() == 0
    figures = demo.lines[-1]
    assert f'"service":"their-repo","commit":"{loose}","kind":"deploy","outcome":"SUCCEEDED"' in figures
    assert nothing_left(temporary)
