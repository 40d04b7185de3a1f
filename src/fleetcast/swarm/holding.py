"""One artifact as this machine holds it, wholly or in part: its state, its files, and the lock between the threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fleetcast.model.errors import Unavailable
from fleetcast.model.ids import Digest
from fleetcast.model.limits import CHUNK_BYTES_MAX
from fleetcast.swarm.download import Download
from fleetcast.swarm.piece_files import PieceFiles


def _nobody() -> None:
    """Nobody is served yet."""


class Holding:
    """``lock`` guards ``download`` and whatever else the threads of one artifact share; it is held around pure calls only."""

    def __init__(self, digest: Digest, download: Download, files: PieceFiles) -> None:
        self.digest = digest
        self.download = download
        self.files = files
        self.lock = threading.Lock()
        self.load = 0
        """Pieces that we owe to peers."""
        self.askers = 0
        """Peers that are served."""
        self.poke: Callable[[], None] = _nobody
        """Called when there is something to tell peers: a piece became OWNED, or the end."""
        self.turn = threading.Condition(self.lock)
        """Notified when whoever drives the fetch should look again."""
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def recheck(self, piece: int) -> bool:
        """Somebody says that what it got for ``piece`` was wrong: hash the file. False, and not OWNED any more: it is."""
        with self.lock:
            if not self.download.owns(piece):
                return True
        try:
            good = self.files.intact(piece, memoryview(bytearray(CHUNK_BYTES_MAX)))
        except (ValueError, Unavailable):
            good = False
        if not good:
            with self.lock:
                self.download.forget(piece)
                self.turn.notify_all()
        return good

    def close(self) -> None:
        """Let go of the files; threads that serve from them end at their next call."""
        with self.lock:
            self._closed = True
            self.turn.notify_all()
        self.poke()
        self.files.close()
