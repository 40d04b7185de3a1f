"""The data port: a bucket served to other processes, by grant, over raw sockets (law 10).

A thread a connection; ``sendfile`` out of a directory, through one buffer out of a store; ``recv_into`` one buffer in.
Everything is bounded: connections, the parts received at a time, the time a connection may be idle.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from socketserver import TCPServer
from typing import Any

import structlog

from fleetcast.model.limits import DATA_PORT_CLOSE_S_MAX, DATA_PORT_CONNECTIONS_MAX
from fleetcast.stores.data_port_exchange import Exchange, PartBuffers, ServedBucket
from fleetcast.stores.limiter import Limiter
from fleetcast.stores.marking import mark_background
from fleetcast.stores.obstacles import address_refused
from fleetcast.stores.served import Served
from fleetcast.stores.served_directory import ServedDirectory

log = structlog.get_logger(__name__)

_ACCEPT_RETRY_S = 0.2
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class DataPort:
    """Serves ``bucket``, a directory or another, at ``host``; port 0 picks one. ``key`` is what grants are signed with.

    Answers ``GET`` and ``HEAD`` of granted blobs, with at most one ``Range``, and ``PUT`` of granted parts, whose ``ETag`` is
    the part's BLAKE3 in hex. Errors have the status of the error's class (``model/errors.py``) and one line of text.
    """

    def __init__(
        self, bucket: Path | Served, key: bytes, host: str, port: int, limit: Limiter | None = None, *, background: bool = False
    ) -> None:
        """``limit``: of the blobs that are read, each of which gets as much as any other. ``background``: mark connections."""
        served = ServedDirectory(bucket) if isinstance(bucket, Path) else bucket
        self._bucket = ServedBucket(served, key, PartBuffers(), limit or Limiter())
        self._background = background
        self._address = (host, port)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, setting: str = "") -> None:
        """Listen. Raises :class:`Refused` when the address is taken; ``setting`` names where its port was chosen."""
        host, port = self._address
        try:
            self._server = _Server(self._address, self._bucket)
        except OSError as error:
            raise address_refused(host, port, error, setting) from error
        if self._background:
            mark_background(self._server.socket)
        self._thread = threading.Thread(target=self._server.accept_until_closed, name="data-port", daemon=True)
        self._thread.start()
        log.info("data_port_started", url=self.url)

    @property
    def port(self) -> int:
        """The port it listens on; once started."""
        return self._started().server_address[1]

    @property
    def url(self) -> str:
        """The base of granted URLs; once started."""
        host = self._address[0]
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def close(self) -> None:
        """Stop listening, cut every connection and wait for their threads. Nothing happens when it is not started."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        server.close_all()
        thread.join(DATA_PORT_CLOSE_S_MAX)
        self._server = self._thread = None

    def _started(self) -> _Server:
        if self._server is None:
            raise RuntimeError("the data port is not started")
        return self._server


class _Server(TCPServer):
    """Accepts, gives each connection a thread, and knows them all so that it can cut them."""

    allow_reuse_address = True
    request_queue_size = 512
    server_address: tuple[str, int]

    def __init__(self, address: tuple[str, int], bucket: ServedBucket) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._closed = threading.Event()
        super().__init__(address, partial(Exchange, bucket))

    def accept_until_closed(self) -> None:
        while not self._closed.is_set():
            try:
                connection, address = self.socket.accept()
            except OSError as error:
                # Closed, or out of descriptors: then those we have go on, and we try again when some may be free.
                if not self._closed.wait(_ACCEPT_RETRY_S):
                    log.warning("data_port_accept_failed", error=error.strerror)
                continue
            self.process_request(connection, address)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self._serve, args=(request, client_address), name=f"data-port-{client_address[1]}", daemon=True
        )
        with self._lock:
            admitted = not self._closed.is_set() and len(self._open) < DATA_PORT_CONNECTIONS_MAX and _begun(thread)
            if admitted:
                self._open[request] = thread
        if not admitted:
            self._turn_away(request)

    def close_all(self) -> None:
        with self._lock:
            self._closed.set()
            connections = dict(self._open)
        _shut(self.socket)  # wakes the accepting thread
        for connection in connections:
            _shut(connection)
        for thread in connections.values():
            thread.join(DATA_PORT_CLOSE_S_MAX)
        self.server_close()

    def _serve(self, connection: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(connection, client_address)
        except OSError as error:
            log.debug("data_port_connection_lost", error=str(error))
        except Exception:
            log.exception("data_port_connection_failed")
        finally:
            with self._lock:
                self._open.pop(connection, None)
            self.shutdown_request(connection)

    def _turn_away(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with suppress(OSError):  # gone already
            connection.send(_BUSY)
        self.shutdown_request(connection)


def _begun(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError as error:  # the host has no more of them: whoever comes later may be luckier
        log.warning("data_port_out_of_threads", error=str(error))
        return False
    return True


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side was first
        connection.shutdown(socket.SHUT_RDWR)
