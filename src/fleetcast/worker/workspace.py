"""A worker's own directory, and what a worker that was killed left in it.

::

    lock                 held while a worker runs here
    mirrors/             bare mirrors, kept (source.py)
    attempts/<name>/     one attempt's worktree (tree/) and log; removed when it ends
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import structlog

from fleetcast.artifacts.tree import remove_tree
from fleetcast.model.errors import Refused
from fleetcast.worker.leftovers import end_leftovers

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
            Refused: another worker holds it, or something in it cannot be ended.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # sources are not everybody's on this host
        self._attempts.mkdir(exist_ok=True)
        self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise Refused("workspace_in_use", f"another worker runs in {self.root}: give each its own workspace") from None
        if ended := end_leftovers(self.root):
            log.warning("leftovers_ended", workspace=str(self.root), processes=ended)
        for left in self._attempts.iterdir():
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
