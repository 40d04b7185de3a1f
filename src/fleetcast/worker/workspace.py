"""A worker's own directory, and what a worker that was killed left in it.

::

    lock                 held while a worker runs here
    mirrors/             bare mirrors, kept (source.py)
    attempts/<name>/     one attempt's claim, worktree (tree/) and log; removed when it ends
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog

from fleetcast.artifacts.tree import remove_tree
from fleetcast.model.errors import Refused
from fleetcast.model.ids import BuildId, Token
from fleetcast.worker.leftovers import end_leftovers

log = structlog.get_logger(__name__)


_CLAIM: Final = "claim"


@dataclass(frozen=True, slots=True)
class Held:
    """A build, and the token of the attempt that holds it."""

    build: BuildId
    token: Token


class Workspace:
    """Held by one worker from :meth:`open` to :meth:`close`, or to the end of its process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._attempts = root / "attempts"
        self._lock: int | None = None

    def open(self) -> tuple[Held, ...]:
        """Take the directory, end what an earlier worker left running in it, and remove what it left lying.

        Returns what that worker held when it was killed: nobody works on it any more.

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
        held = []
        for left in self._attempts.iterdir():
            with contextlib.suppress(OSError, msgspec.DecodeError):  # killed before it was written, or in the middle
                held.append(msgspec.json.decode((left / _CLAIM).read_bytes(), type=Held))
            remove_tree(left)
        return tuple(held)

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def attempt(self, name: str, held: Held) -> Path:
        """A new directory for one attempt, with nothing but its claim in it."""
        directory = self._attempts / name
        remove_tree(directory)
        directory.mkdir()
        (directory / _CLAIM).write_bytes(msgspec.json.encode(held))
        return directory
