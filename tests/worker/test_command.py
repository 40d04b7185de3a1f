"""A command runs with its output heard, and nothing it started is left, however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from fleetcast.model.errors import Refused
from fleetcast.worker.command import run_group
from fleetcast.worker.workspace import Workspace, record_group


class Running:
    """One shell command in a group of its own."""

    def __init__(self, directory: Path, command: str, kill_grace_s: float = 5) -> None:
        self.written = bytearray()
        self.spoke = asyncio.Event()
        self.group = 0
        self.task = asyncio.create_task(
            run_group(
                ["/bin/sh", "-c", command],
                directory=directory,
                environment={"PATH": os.environ["PATH"], "WORD": "hello"},
                output=self._hear,
                kill_grace_s=kill_grace_s,
                started=self._started,
            )
        )

    def _hear(self, data: bytes) -> None:
        self.written += data
        self.spoke.set()

    def _started(self, group: int) -> None:
        self.group = group


def alive_in_group(group: int) -> list[int]:
    alive = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_bytes().rpartition(b") ")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in (b"Z", b"X"):
            alive.append(int(status.parent.name))
    return alive


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
    assert alive_in_group(command.group) == []


async def test_cancelling_ends_the_whole_group_even_if_it_does_not_listen(tmp_path: Path) -> None:
    command = Running(
        tmp_path, "trap '' TERM; sh -c 'trap \"\" TERM; echo deaf; sleep 1000' & wait; sleep 1000", kill_grace_s=0.1
    )
    await asyncio.wait_for(command.spoke.wait(), 10)
    assert len(alive_in_group(command.group)) >= 2
    command.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(command.task, 10)
    assert alive_in_group(command.group) == []


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
    directory = killed.attempt("7-1")
    (directory / "tree" / "sealed").mkdir(parents=True)
    (directory / "tree" / "sealed").chmod(0o555)
    command = Running(directory, "echo on; sleep 1000")
    await asyncio.wait_for(command.spoke.wait(), 10)
    record_group(directory / "group", command.group)

    with pytest.raises(Refused, match="another worker"):
        Workspace(tmp_path / "workspace").open()
    assert alive_in_group(command.group)
    killed.close()

    successor = Workspace(tmp_path / "workspace")
    successor.open()
    assert await asyncio.wait_for(command.task, 10) == -signal.SIGKILL
    assert list((tmp_path / "workspace" / "attempts").iterdir()) == []
    successor.close()


async def test_a_number_that_means_another_process_by_now_is_left_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    workspace.open()
    directory = workspace.attempt("7-1")
    command = Running(tmp_path, "echo on; sleep 1000")
    await asyncio.wait_for(command.spoke.wait(), 10)
    (directory / "group").write_text(f"{command.group} 1")
    workspace.close()
    workspace.open()
    assert alive_in_group(command.group)
    command.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await command.task
    workspace.close()
