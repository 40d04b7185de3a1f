"""The journal of a fetch: which pieces were written, and where each came from, so that a fetch that was cut off re-hashes
just those and its byte counts still add up.

A record of 8 bytes a piece, appended after the piece's bytes. It is a hint, never believed: nothing counts before its bytes
on disk have been hashed again, so no fsync is needed, and a torn or foreign record does no harm.
"""

from __future__ import annotations

import os
import threading
from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import Final

_RECORD: Final = Struct("<IBxxx")


class Source(IntEnum):
    """Where the first verified copy of a piece came from."""

    ORIGIN = 1
    PEER = 2
    LOCAL = 3


class Journal:
    """Many threads may call :meth:`add`."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file; a torn last record is cut off. Raises OSError."""
        self._lock = threading.Lock()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._descriptor).st_size
        os.ftruncate(self._descriptor, size - size % _RECORD.size)

    def read(self) -> dict[int, Source]:
        """Piece to source; the last record of a piece counts, records that make no sense do not."""
        data = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        sources = {source.value: source for source in Source}
        return {piece: sources[code] for piece, code in _RECORD.iter_unpack(data) if code in sources}

    def add(self, piece: int, source: Source) -> None:
        """Raises OSError when the disk is full, ValueError when this is closed."""
        with self._lock:
            if self._descriptor < 0:
                raise ValueError("the journal is closed")
            os.write(self._descriptor, _RECORD.pack(piece, source))

    def close(self) -> None:
        """A second time nothing happens."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
