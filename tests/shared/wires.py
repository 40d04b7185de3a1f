"""A peer that is spoken to by hand."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from fleetcast.swarm.wire import Wire


@contextmanager
def dialled(port: int) -> Iterator[Wire]:
    """A wire to a peer of this machine, that nothing was said on yet."""
    wire = Wire(socket.socket())
    try:
        wire.connect("127.0.0.1", port)
        yield wire
    finally:
        wire.close()
