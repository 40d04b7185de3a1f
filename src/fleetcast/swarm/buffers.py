"""Memory for pieces that arrive, shared by all connections of a process: what was used last is used next, while the
processor's caches still have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fleetcast.model.limits import CHUNK_BYTES_MAX, SWARM_BUFFERS_KEPT


class Buffers:
    """Callable from any thread. As many as are borrowed at a time are made; ``SWARM_BUFFERS_KEPT`` of them stay."""

    def __init__(self) -> None:
        # A list's append and pop are single steps: no lock.
        self._free: list[memoryview] = []

    def drop(self) -> None:
        """Give the memory of those that are free back: nothing arrives any more."""
        self._free.clear()

    @contextmanager
    def borrow(self) -> Iterator[memoryview]:
        """``CHUNK_BYTES_MAX`` bytes, with anything in them."""
        try:
            buffer = self._free.pop()
        except IndexError:
            buffer = memoryview(bytearray(CHUNK_BYTES_MAX))
        try:
            yield buffer
        finally:
            if len(self._free) < SWARM_BUFFERS_KEPT:
                self._free.append(buffer)
