"""A bucket of an S3-compatible store, as a region's data port serves it: ranges stream through one buffer a transfer.

So machines need neither a way to the store nor trust in it, the region's limit holds, and whoever has the region's data key
looks into its bucket as into any other.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import GRANT_LIFETIME_S, S3_KNOWN_MAX, S3_LANE_SEND_S_MAX
from fleetcast.model.messages.grants import Grant
from fleetcast.stores.blob_files import no_blob
from fleetcast.stores.blobs import no_upload
from fleetcast.stores.s3_lanes import Lanes
from fleetcast.stores.s3_objects import S3Objects
from fleetcast.stores.served import Served, ServedBlob


@dataclass(frozen=True, slots=True)
class _Known:
    size: int
    grant: Grant
    until_s: float
    """Monotonic."""


class ServedS3(Served):
    """Remembers size and grant of the blobs that are read, since these never change: a range is one request to the store."""

    def __init__(self, objects: S3Objects, lanes: Lanes) -> None:
        self._objects = objects
        self._lanes = lanes
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    @contextmanager
    def open(self, key: str, *, look: bool) -> Iterator[ServedBlob]:
        known = self._look(key) if look else self._recall(key) or self._look(key)
        try:
            yield _Object(self._lanes, known)
        except FleetcastError:
            self._forget(key)  # it may be gone, or be another one by now
            raise

    def check_upload(self, upload: str) -> None:
        """Parts are written by the bucket's own process alone."""
        raise no_upload(upload)

    def write_part(self, upload: str, number: int, data: memoryview) -> str:  # noqa: ARG002 -- of no upload
        raise no_upload(upload)

    def _look(self, key: str) -> _Known:
        there = self._objects.stat(key)
        if there is None:
            self._forget(key)
            raise no_blob(key)
        # Half: who begins to read by a grant, or with another one's, has some time left.
        known = _Known(there.size, self._objects.read_grant(key, GRANT_LIFETIME_S), time.monotonic() + GRANT_LIFETIME_S / 2)
        with self._lock:
            self._known[key] = known
            while len(self._known) > S3_KNOWN_MAX:
                self._known.popitem(last=False)
        return known

    def _recall(self, key: str) -> _Known | None:
        with self._lock:
            known = self._known.get(key)
            if known is None or known.until_s < time.monotonic():
                return None
            self._known.move_to_end(key)
            return known

    def _forget(self, key: str) -> None:
        with self._lock:
            self._known.pop(key, None)


class _Object(ServedBlob):
    def __init__(self, lanes: Lanes, known: _Known) -> None:
        self._lanes = lanes
        self._known = known

    @property
    def size(self) -> int:
        return self._known.size

    @contextmanager
    def sending(self, connection: socket.socket, offset: int, length: int) -> Iterator[Callable[[int], bool]]:
        with self._lanes.borrow() as lane, lane.connection.reading(self._known.grant, offset, length) as fill:

            def send(size: int) -> bool:
                left = size
                while left:
                    piece = lane.buffer[:left]
                    fill(piece)
                    _send(connection, piece)
                    left -= len(piece)
                return True

            yield send


def _send(connection: socket.socket, piece: memoryview) -> None:
    """Whoever takes it too slowly is cut off: others wait for the lane. Raises :class:`TimeoutError`."""
    idle_s = connection.gettimeout()
    connection.settimeout(S3_LANE_SEND_S_MAX)
    connection.sendall(piece)
    connection.settimeout(idle_s)
