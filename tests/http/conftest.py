"""A real server on a real socket, for any application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from fleetcast.http.serving import bind, serve, url_of

Running = Callable[[Any], AbstractAsyncContextManager[tuple[str, asyncio.Event]]]


@contextlib.asynccontextmanager
async def _running(app: Any) -> AsyncIterator[tuple[str, asyncio.Event]]:
    sock = bind("127.0.0.1", 0)
    stop, started = asyncio.Event(), asyncio.Event()
    url = url_of(sock)
    task = asyncio.create_task(serve(app, sock, stop, started=started.set))
    try:
        await asyncio.wait_for(started.wait(), 5)
        yield url, stop
    finally:
        stop.set()
        await asyncio.wait_for(task, 5)


@pytest.fixture
def running() -> Running:
    """``async with running(app) as (url, stop)``."""
    return _running
