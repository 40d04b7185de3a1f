"""Network namespaces that carry their owner's name: who made them, whether it still lives, what runs in them."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import signal
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from lab import commands
from lab.errors import LabError
from lab.limits import END_S_MAX

PLACE: Final = Path("/run/netns")
_OWNED: Final = re.compile(r"fleetlab-(?P<pid>\d+)-(?P<started>\d+)-")
_CLONE_NEWNET: Final = 0x40000000
_LOOK_S: Final = 0.02
_numbers = itertools.count(1)


def prefix() -> str:
    """What the names of a new lab's namespaces begin with: this process by id and start time, and a number of its own."""
    return f"fleetlab-{os.getpid()}-{_started(os.getpid())}-{next(_numbers)}"


def make(names: Iterable[str]) -> None:
    """Raises :class:`LabError`."""
    commands.ip("", [f"netns add {name}" for name in names])


def remove(names: Collection[str]) -> None:
    """Kill what runs in them and take them away; those that are not there are passed over."""
    end = time.monotonic() + END_S_MAX
    while inside := processes(names):
        for pid in inside:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            raise LabError(f"processes of a lab do not die of SIGKILL: {', '.join(map(str, inside))}")
        time.sleep(_LOOK_S)
    for name in names:
        # Somebody else may sweep the same dead lab just now.
        with suppress(LabError):
            commands.run("ip", "netns", "delete", name)


def sweep() -> None:
    """Remove what labs left whose process is gone, with everything that still runs in it."""
    remove([name for name in _all() if (owned := _OWNED.match(name)) and _started(int(owned["pid"])) != owned["started"]])


def processes(names: Collection[str]) -> list[int]:
    """Ids of the processes in these namespaces, but for this one."""
    wanted = set()
    for name in names:
        with suppress(OSError):
            wanted.add(_identity(PLACE / name))
    found = []
    for path in Path("/proc").iterdir() if wanted else ():
        # Those that ended meanwhile, or wait to be collected, have no network.
        with suppress(OSError):
            if path.name.isdigit() and _identity(path / "ns/net") in wanted and int(path.name) != os.getpid():
                found.append(int(path.name))
    return found


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """The calling thread is in this namespace meanwhile (empty: it stays where it is); sockets opened there stay there."""
    if not namespace:
        yield
        return
    with open("/proc/thread-self/ns/net") as home, open(PLACE / namespace) as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot change into a network namespace")


def _all() -> list[str]:
    return [path.name for path in PLACE.iterdir()] if PLACE.is_dir() else []


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _started(pid: int) -> str:
    """When a process began, in clock ticks after boot; empty: there is none, or it only waits to be collected."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]
