"""What one idle TCP stream carries from one host to another: the rate that bounds are computed with."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Final

from lab.errors import LabError
from lab.host import Host
from lab.namespaces import inside

WARM_S: Final = 1.0
"""Not counted: the stream finds its rate, and the shaper's first burst is over."""
_STALL_S_MAX: Final = 10.0
_BUFFER_BYTES: Final = 1 << 16


def measure(sender: Host, receiver: Host, seconds: float = 3.0) -> float:
    """Mbit/s of payload; takes ``seconds`` and a little. Raises :class:`LabError` when nothing arrives."""
    with inside(receiver.namespace):
        listener = socket.create_server((receiver.address, 0))
    with inside(sender.namespace):
        source = socket.socket()
    with listener, source:
        source.settimeout(_STALL_S_MAX)
        source.connect(listener.getsockname()[:2])
        sink, _ = listener.accept()
        enough = threading.Event()
        thread = threading.Thread(target=_send, args=(source, enough))
        thread.start()
        try:
            sink.settimeout(_STALL_S_MAX)
            _receive(sink, WARM_S)
            took_s, got = _receive(sink, seconds)
            enough.set()
            # What is still on its way is nobody else's trouble: the network is idle when this returns.
            while sink.recv(_BUFFER_BYTES):
                pass
        except TimeoutError as error:
            raise LabError(f"nothing gets from {sender.name} to {receiver.name}") from error
        finally:
            enough.set()
            sink.close()
            thread.join()
    return got * 8 / took_s / 1e6


def _send(source: socket.socket, enough: threading.Event) -> None:
    data = bytes(_BUFFER_BYTES)
    with suppress(OSError):  # the receiver is gone
        while not enough.is_set():
            source.sendall(data)
        source.shutdown(socket.SHUT_WR)


def _receive(sink: socket.socket, seconds: float) -> tuple[float, int]:
    """Seconds it took, and bytes."""
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    got, began = 0, time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        got += sink.recv_into(buffer)
    return now - began, got
