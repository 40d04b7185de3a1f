"""A command runs with its output heard, and nothing it started is left, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from fleetcast.model.errors import Refused
from fleetcast.model.ids import BuildId, Token
from fleetcast.worker.command import run_group
from fleetcast.worker.leftovers import PLACE_VARIABLE
from fleetcast.worker.workspace import Held, Workspace


class Running:
    """One shell command in a group of its own."""

    def __init__(self, directory: Path, command: str, kill_grace_s: float = 5) -> None:
        self.written = bytearray()
        self.spoke = asyncio.Event()
        self.task = asyncio.create_task(
            run_group(
                ["/bin/sh", "-c", command],
                directory=directory,
                environment={"PATH": os.environ["PATH"], "WORD": "hello"},
                output=self._hear,
                kill_grace_s=kill_grace_s,
            )
        )

    def _hear(self, data: bytes) -> None:
        self.written += data
        self.spoke.set()


def alive_in(directory: Path) -> list[str]:
    """What was started there and runs; a dead process has no environment."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{PLACE_VARIABLE}={directory}".encode() in environment.read_bytes().split(b"\0"):
                found.append(environment.parent.name)
    return found


async def test_output_of_both_streams_and_exit_code(tmp_path: Path) -> None:
    command = Running(tmp_path, 'echo "$WORD"; pwd >&2; exit 3')
    assert await command.task == 3
    assert command.written.decode().splitlines() == ["hello", str(tmp_path)]


async def test_death_by_signal_is_told(tmp_path: Path) -> None:
    assert await Running(tmp_path, "kill -9 $$").task == -signal.SIGKILL


async def test_large_output_arrives_whole(tmp_path: Path) -> None:
    command = Running(tmp_path, "head -c 3000000 /dev/zero")
    assert await command.task == 0
    assert len(command.written) == 3_000_000


async def test_what_is_left_behind_is_ended(tmp_path: Path) -> None:
    command = Running(tmp_path, "sleep 1000 & echo started")
    assert await asyncio.wait_for(command.task, 20) == 0
    assert command.written == b"started\n"
    assert alive_in(tmp_path) == []


async def test_cancelling_ends_the_whole_group_even_if_it_does_not_listen(tmp_path: Path) -> None:
    command = Running(
        tmp_path, "trap '' TERM; sh -c 'trap \"\" TERM; echo deaf; sleep 1000' & wait; sleep 1000", kill_grace_s=0.1
    )
    await asyncio.wait_for(command.spoke.wait(), 10)
    assert len(alive_in(tmp_path)) >= 2
    command.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(command.task, 10)
    assert alive_in(tmp_path) == []


async def test_somebody_who_left_the_group_does_not_hold_it_up(tmp_path: Path) -> None:
    command = Running(tmp_path, "setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.2; echo done")
    try:
        assert await asyncio.wait_for(command.task, 10) == 0
        assert b"done\n" in command.written
    finally:
        os.kill(int(command.written.split()[0]), signal.SIGKILL)


async def test_a_worker_ends_what_its_killed_predecessor_left(tmp_path: Path) -> None:
    killed = Workspace(tmp_path / "workspace")
    killed.open()
    directory = killed.attempt("7-1", Held(BuildId(7), Token("t")))
    (directory / "tree" / "sealed").mkdir(parents=True)
    (directory / "tree" / "sealed").chmod(0o555)
    (tmp_path / "workspace" / "mirrors").mkdir()
    build = Running(directory / "tree", "setsid sleep 1000 & echo on; exec sleep 1000")
    git = Running(tmp_path / "workspace" / "mirrors", "echo on; exec sleep 1000")  # waits for a server, say
    elsewhere = Running(tmp_path, "echo on; sleep 1000")
    for command in (build, git, elsewhere):
        await asyncio.wait_for(command.spoke.wait(), 10)

    with pytest.raises(Refused, match="another worker"):
        Workspace(tmp_path / "workspace").open()
    assert alive_in(directory / "tree")
    killed.close()

    successor = Workspace(tmp_path / "workspace")
    assert successor.open() == (Held(BuildId(7), Token("t")),)
    assert await asyncio.wait_for(build.task, 10) == -signal.SIGKILL
    assert await asyncio.wait_for(git.task, 10) == -signal.SIGKILL
    assert alive_in(directory / "tree") == alive_in(tmp_path / "workspace" / "mirrors") == []
    assert list((tmp_path / "workspace" / "attempts").iterdir()) == []
    successor.close()

    assert alive_in(tmp_path)
    elsewhere.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await elsewhere.task
