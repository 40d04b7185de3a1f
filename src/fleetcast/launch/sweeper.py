"""Leaves nothing behind of a directory: ends the processes that belong to it, then removes it.

Services outlive the agents that started them, on purpose. Where a whole installation is temporary, they are found by what they
were given: an environment variable ``FLEETCAST_*`` that names something in the directory.

As a program (``python -m fleetcast.launch.sweeper DIRECTORY PIPE [--keep]``) it waits until the pipe's last writer is gone, so
that the clearing up happens however that one ended. It imports nothing heavy, to be in place before there is anything to clear.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

GRACE_S: Final = 5.0
PATIENCE_S: Final = 30.0
"""After which what is left is given up, and said."""
_LOOK_AGAIN_S: Final = 0.05


def processes_of(directory: Path) -> list[int]:
    """Process ids that belong to ``directory``, this process aside. Those of other users are not seen."""
    return [pid for pid in _all_pids() if pid != os.getpid() and _belongs(pid, os.fsencode(directory))]


def end_processes(directory: Path) -> list[int]:
    """End them: asked first, killed after ``GRACE_S``. Looks again until there are none. Returns what could not be ended."""
    started = time.monotonic()
    asked: set[int] = set()
    while left := processes_of(directory):
        waited_s = time.monotonic() - started
        if waited_s > PATIENCE_S:
            return left
        for pid in left:
            if waited_s > GRACE_S:
                _send(pid, signal.SIGKILL)
            elif pid not in asked:
                asked.add(pid)
                _send(pid, signal.SIGTERM)
        time.sleep(_LOOK_AGAIN_S)
    return []


def remove(directory: Path) -> None:
    """Remove a tree, sealed releases in it included. Nothing happens when it is gone.

    Raises:
        OSError: it is still there after ``PATIENCE_S``; before that, who is still writing into it is waited for.
    """
    from fleetcast.artifacts.tree import remove_tree  # once there is something to clear

    started = time.monotonic()
    while directory.exists():
        try:
            remove_tree(directory)
        except FileNotFoundError:
            continue
        except OSError:
            if time.monotonic() - started > PATIENCE_S:
                raise
            time.sleep(_LOOK_AGAIN_S)


def _all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _belongs(pid: int, directory: bytes) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it ended, or is somebody else's
        return False
    named = (variable.partition(b"=")[2] for variable in variables if variable.startswith(b"FLEETCAST_"))
    return any(path == directory or path.startswith(directory + b"/") for path in named)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main(directory: Path, pipe: int, *, keep: bool) -> int:
    """Wait for the end of the pipe, then clear up. Returns an exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(pipe, 1):
        pass
    if left := end_processes(directory):
        print(f"could not end these processes: {left}", file=sys.stderr)
        return 1
    if not keep:
        remove(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), keep="--keep" in sys.argv[3:]))
