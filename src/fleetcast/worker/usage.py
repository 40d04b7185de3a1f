"""What a running build uses: its processes, their memory, its files."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetcast.model.limits import MIB
from fleetcast.stores.occupied import disk_bytes
from fleetcast.worker.sandbox import BuildLimits

_PAGE_BYTES: Final = resource.getpagesize()


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one build at one moment."""

    processes: int = 0
    """Threads counted."""
    memory_bytes: int = 0
    disk_bytes: int = 0


def broken_limit(usage: Usage, limits: BuildLimits) -> str | None:
    """Which limit a build has reached, as a sentence; ``None``: none."""
    # Of processes the kernel allows no more than the limit: who has so many wanted more.
    if usage.processes >= limits.processes:
        return f"the build command had {limits.processes} processes and threads at a time, all it may (build_processes)"
    if usage.memory_bytes > limits.memory_bytes:
        return f"the build command used more than the {_mib(limits.memory_bytes)} of memory it may (build_memory_bytes)"
    if usage.disk_bytes > limits.disk_bytes:
        return f"the build command wrote more than the {_mib(limits.disk_bytes)} of disk it may (build_disk_bytes)"
    return None


def measure(pid: int, directories: Sequence[Path]) -> Usage:
    """What the processes below ``pid`` and files in ``directories`` use. Blocking: every process and file is looked at."""
    members = [stat for stat in _below(pid) if stat.pid != pid]
    return Usage(
        processes=sum(stat.threads for stat in members),
        memory_bytes=sum(_private_bytes(stat.pid) for stat in members),
        disk_bytes=sum(disk_bytes(directory) for directory in directories),
    )


def ask_to_end(pid: int) -> None:
    """SIGTERM for everything that the sandbox runs, whose outer process is ``pid``; not for its first one inside, whose end
    would be SIGKILL for all others."""
    outer = {pid}
    for stat in _below(pid):
        if stat.pid not in outer and stat.parent not in outer:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(stat.pid, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class _Stat:
    pid: int
    parent: int
    threads: int


def _below(pid: int) -> Iterator[_Stat]:
    """``pid`` and its descendants. In a PID namespace nobody gets out of this: orphans are its first process's."""
    children: dict[int, list[_Stat]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything; behind it come state and parent, and as the 20th field threads.
            fields = path.read_bytes().rpartition(b") ")[2].split()
        except OSError:
            continue
        if fields[0] not in (b"Z", b"X"):
            children[int(fields[1])].append(_Stat(int(path.parent.name), int(fields[1]), int(fields[17])))
    waiting = [_Stat(pid, 0, 1)]
    while waiting:
        yield (stat := waiting.pop())
        waiting.extend(children.pop(stat.pid, ()))


def _private_bytes(pid: int) -> int:
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_bytes().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE_BYTES


def _mib(count: int) -> str:
    return f"{count / MIB:g} MiB"
