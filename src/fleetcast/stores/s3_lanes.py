"""The connections over which bulk data travels between this process and a store: so many, and no more."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager

from fleetcast.model.errors import Unavailable
from fleetcast.model.limits import S3_LANE_BYTES, S3_LANE_WAIT_S_MAX, S3_LANES_MAX
from fleetcast.stores.transfer import GrantConnection


class Lane:
    """For one thread at a time."""

    def __init__(self) -> None:
        self.connection = GrantConnection()
        self._buffer: bytearray | None = None

    @property
    def buffer(self) -> memoryview:
        """Of ``S3_LANE_BYTES``, made when first needed."""
        if self._buffer is None:
            self._buffer = bytearray(S3_LANE_BYTES)
        return memoryview(self._buffer)


class Lanes:
    """``S3_LANES_MAX`` of them. Those that were used last are used first: their connections are warm, the others are never
    made."""

    def __init__(self) -> None:
        self._free: queue.LifoQueue[Lane | None] = queue.LifoQueue()
        for _ in range(S3_LANES_MAX):
            self._free.put(None)

    @contextmanager
    def borrow(self) -> Iterator[Lane]:
        """Raises :class:`Unavailable` when none gets free in time."""
        try:
            lane = self._free.get(timeout=S3_LANE_WAIT_S_MAX) or Lane()
        except queue.Empty:
            raise Unavailable("bucket_busy", "too many transfers to the store are under way: try again later") from None
        try:
            yield lane
        finally:
            self._free.put(lane)

    def close(self) -> None:
        """Close the connections of those that are free."""
        lanes: list[Lane | None] = []
        while not self._free.empty():
            lanes.append(self._free.get_nowait())
        for lane in lanes:
            if lane is not None:
                lane.connection.close()
            self._free.put(None)
