"""Clearing up a temporary directory and what belongs to it, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetcast.launch import sweeper

SLEEP = "print('up', flush=True); import time; time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"

Start = Callable[[str, dict[str, str]], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def starting(code: str, marks: dict[str, str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, **marks}, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    yield starting
    for process in started:
        process.kill()
        process.communicate()


def sealed_tree(directory: Path) -> None:
    tree = directory / "releases" / "abc" / "tree" / "sub"
    tree.mkdir(parents=True)
    (tree / "file").write_text("x")
    (tree / "link").symlink_to("file")
    (tree / "file").chmod(0o444)
    for path in (tree, tree.parent):
        path.chmod(0o555)


def sweeping(directory: Path, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    """A sweeper at work, and the writing end of the pipe it listens to."""
    reader, writer = os.pipe()
    program = [sys.executable, "-m", "fleetcast.launch.sweeper", str(directory), str(reader), *options]
    process = subprocess.Popen(program, pass_fds=(reader,))
    os.close(reader)
    return process, writer


def test_processes_are_found_by_what_they_were_given(tmp_path: Path, start: Start) -> None:
    mine = start(SLEEP, {"FLEETCAST_DATA": str(tmp_path / "machines" / "m1" / "data")})
    others = [start(SLEEP, {}), start(SLEEP, {"FLEETCAST_DATA": f"{tmp_path}-other/x"}), start(SLEEP, {"HOME": str(tmp_path)})]
    assert sweeper.processes_of(tmp_path) == [mine.pid]
    assert sweeper.end_processes(tmp_path) == []
    assert mine.wait(10) == -15
    assert [process.poll() for process in others] == [None, None, None]


def test_who_does_not_listen_is_killed(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "GRACE_S", 0.2)
    stubborn = start(STUBBORN, {"FLEETCAST_SETTINGS": str(tmp_path)})
    assert sweeper.end_processes(tmp_path) == []
    assert stubborn.wait(10) == -9


def test_sealed_releases_are_removed_and_links_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o555)
    directory = tmp_path / "installation"
    sealed_tree(directory)
    (directory / "way-out").symlink_to(outside)
    sweeper.remove(directory)
    assert not directory.exists()
    assert outside.stat().st_mode & 0o777 == 0o555
    sweeper.remove(directory)


def test_the_program_waits_for_the_end_of_the_pipe(tmp_path: Path, start: Start) -> None:
    directory = tmp_path / "installation"
    process, writer = sweeping(directory)
    sealed_tree(directory)
    service = start(SLEEP, {"FLEETCAST_DATA": str(directory / "data")})
    assert (process.poll(), service.poll()) == (None, None)
    os.close(writer)
    assert process.wait(20) == 0
    assert service.wait(10) == -15
    assert not directory.exists()


def test_the_program_keeps_the_directory_when_told(tmp_path: Path, start: Start) -> None:
    sealed_tree(tmp_path / "installation")
    service = start(SLEEP, {"FLEETCAST_DATA": str(tmp_path / "installation")})
    process, writer = sweeping(tmp_path / "installation", "--keep")
    os.close(writer)
    assert process.wait(20) == 0
    assert service.wait(10) == -15
    assert (tmp_path / "installation").is_dir()
