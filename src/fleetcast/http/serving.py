"""Serving an application on a bound socket until told to stop: uvicorn, with its signal handling and chatter left out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import uvicorn

from fleetcast.model.errors import Refused
from fleetcast.model.limits import HTTP_KEEP_ALIVE_S, HTTP_STOP_S_MAX
from fleetcast.stores.obstacles import address_refused

_BACKLOG: Final = 1024
_TICK_S: Final = 1.0
_ON_PURPOSE: Final = ContextVar("_ON_PURPOSE", default=False)
"""Of a request: see :func:`cut_short`."""


class _CutShort(logging.Filter):
    """Leaves out that an answer was not completed, where that is no defect."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (_ON_PURPOSE.get() and record.msg == "ASGI callable returned without completing response.")


_CUT_SHORT: Final = _CutShort()


def cut_short() -> None:
    """The answer to the present request ends without its end, on purpose: the server closes the connection, and says nothing
    of it. To be called in the task that the server calls the application in."""
    _ON_PURPOSE.set(True)


def bind(host: str, port: int, setting: str = "") -> socket.socket:
    """A TCP socket that listens; port 0 picks a free one. ``setting`` names where the port was chosen.

    Raises:
        Refused: the address cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Refused("unknown_address", f"cannot listen on {host}:{port} ({error.strerror}): correct the host") from error
    family, kind, number, _, address = found[0]
    sock = socket.socket(family, kind, number)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise address_refused(host, port, error, setting) from error
    return sock


def url_of(sock: socket.socket) -> str:
    """``http://host:port`` of a bound socket."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(app: Any, sock: socket.socket, stop: asyncio.Event, *, started: Callable[[], None] | None = None) -> None:
    """Serve the ASGI ``app`` on ``sock`` (closed at the end) until ``stop`` is set.

    ``started`` is called once requests are being answered. On ``stop`` no new connection is taken, idle ones are closed,
    and requests under way get ``HTTP_STOP_S_MAX`` seconds; who holds long polls answers them (:meth:`holding.Bell.close`).
    """
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=2 * HTTP_KEEP_ALIVE_S,
        timeout_graceful_shutdown=HTTP_STOP_S_MAX,
    )
    logging.getLogger("uvicorn.error").addFilter(_CUT_SHORT)
    server = _Server(config, stop, started)
    try:
        await server.serve(sockets=[sock])
    finally:
        sock.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, stop: asyncio.Event, started: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._stop = stop
        self._started = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process, which sets the event."""
        yield

    async def main_loop(self) -> None:
        """Wait for the event instead of looking ten times a second; the tick keeps the ``Date`` header right."""
        await self.on_tick(0)
        if self._started is not None:
            self._started()
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._stop.wait()
            await self.on_tick(0)
