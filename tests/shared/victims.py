"""Stopping and killing processes, and looking at what is left of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from running import wait_until


def alive(pid: int) -> bool:
    """Whether it runs or is stopped; one that has ended and waits to be collected does not count."""
    return _state(Path(f"/proc/{pid}/stat")) not in ("", "Z", "X")


def stopped(pid: int) -> bool:
    """Whether none of its threads can do anything."""
    states = {_state(path / "stat") for path in Path(f"/proc/{pid}/task").glob("*")} - {"", "Z", "X"}
    return states == {"T"}


def stop(pid: int) -> None:
    """SIGSTOP, and wait until it has taken hold."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: stopped(pid), f"process {pid} is stopped")


def resume(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), f"process {pid} is dead")


def stop_in(state: Callable[[], bool], pid: Callable[[], int], what: str) -> int:
    """Stop a process at a moment in which ``state`` holds, and still holds when it is stopped. Returns its id."""
    while True:
        wait_until(state, what)
        found = pid()
        stop(found)
        if state():
            return found
        resume(found)


def step_to(state: Callable[[], bool], pid: int, what: str, step_s: float = 0.004, deadline_s: float = 60.0) -> None:
    """Let a stopped process go on in steps of ``step_s`` until it is stopped in ``state``."""
    end = time.monotonic() + deadline_s
    while not state():
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        resume(pid)
        time.sleep(step_s)
        stop(pid)


def started_with(*beginnings: str) -> list[int]:
    """Process ids of those whose environment has, for each of ``beginnings``, an entry (``NAME=value``) that begins so."""
    wanted = [beginning.encode() for beginning in beginnings]

    def carries(environment: list[bytes]) -> bool:
        return all(any(entry.startswith(beginning) for entry in environment) for beginning in wanted)

    return [pid for pid in _pids() if carries(_environment(pid)) and alive(pid)]


def under_way(port: int) -> int:
    """Bytes on TCP connections between a listener on ``port`` and its clients: sent and not taken from the socket yet."""
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues = line.split()[:5]
        sent, received = (int(queue, 16) for queue in queues.split(":"))
        if state == "01" and int(local.rpartition(":")[2], 16) == port:
            count += sent
        elif state == "01" and int(remote.rpartition(":")[2], 16) == port:
            count += received
    return count


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it ended, or is somebody else's
        return []


def _state(stat: Path) -> str:
    """Empty: there is no such process."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
