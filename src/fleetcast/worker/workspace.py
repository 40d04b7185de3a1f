"""A worker's own directory, and what a worker that was killed left in it.

::

    lock                 held while a worker runs here
    mirrors/             bare mirrors, kept (source.py)
    attempts/<name>/     one attempt's worktree (tree/), log and running process group (group); removed when it ends
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from pathlib import Path

import structlog

from fleetcast.artifacts.tree import remove_tree
from fleetcast.model.errors import Refused

log = structlog.get_logger(__name__)


class Workspace:
    """Held by one worker from :meth:`open` to :meth:`close`, or to the end of its process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._attempts = root / "attempts"
        self._lock: int | None = None

    def open(self) -> None:
        """Take the directory, end what an earlier worker left running in it, and remove what it left lying.

        Raises:
            Refused: another worker holds it.
        """
        self._attempts.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise Refused("workspace_in_use", f"another worker runs in {self.root}: give each its own workspace") from None
        for left in self._attempts.iterdir():
            end_recorded_group(left / "group")
            remove_tree(left)

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def attempt(self, name: str) -> Path:
        """A new, empty directory for one attempt."""
        directory = self._attempts / name
        remove_tree(directory)
        directory.mkdir()
        return directory


def record_group(path: Path, group: int) -> None:
    """Write down a process group of ours, so that a worker that comes after us can end it."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it has ended already
        path.write_text(f"{group} {_start_ticks(group)}")


def end_recorded_group(path: Path) -> None:
    """End a group that was written down, if its leader is still the process that it was then."""
    try:
        group, start_ticks = (int(number) for number in path.read_text().split())
        if _start_ticks(group) == start_ticks:
            log.warning("ending_leftover", group=group)
            os.killpg(group, signal.SIGKILL)
    except (OSError, ValueError):
        return


def _start_ticks(pid: int) -> int:
    """When a process started, as the kernel counts: with its number, its identity until the machine restarts."""
    status = Path(f"/proc/{pid}/stat").read_bytes()
    # The name in parentheses may hold anything; the start is the 20th field behind it.
    return int(status[status.rindex(b")") + 2 :].split()[19])
