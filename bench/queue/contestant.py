"""What a queue must be able to do to take part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

Cycle = Callable[[], Awaitable[bool]]
"""One caller's: claim a job, heartbeat, finish it. Returns whether there was one."""

CONNECTIONS: Final = 20
"""Each contestant's pool. What a server of two cores can work at is fewer; what waits is told from what works."""


class Contestant(Protocol):
    """``url`` is libpq's: ``postgresql://role:password@host:port/database``, of an empty database of the contestant's own."""

    @property
    def name(self) -> str: ...

    async def install(self, url: str) -> None:
        """Make the tables."""

    async def add_waiting(self, url: str, jobs: int) -> None:
        """So many jobs that may be claimed now."""

    async def add_finished(self, url: str, jobs: int) -> None:
        """A history: so many jobs that ended well, where this queue keeps them."""

    def callers(self, url: str, count: int) -> AbstractAsyncContextManager[list[Cycle]]:
        """So many callers, each a worker of its own, over a pool of :data:`CONNECTIONS`."""
