"""A control process over a database, and workers that call it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.installed import installed
from fleetcast.client.control import ControlClient
from fleetcast.http.tokens import load
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK


@dataclass(frozen=True)
class Control:
    url: str
    secrets: Path
    database_url: str

    @asynccontextmanager
    async def workers(self, count: int) -> AsyncIterator[list[ControlClient]]:
        """Each with connections of its own, as a worker process has."""
        token = load(self.secrets / "worker.token")
        async with AsyncExitStack() as opened:
            yield [await opened.enter_async_context(ControlClient(self.url, token)) for _ in range(count)]


@contextmanager
def a_control(directory: Path, database_url: str) -> Iterator[Control]:
    """The process that ships, with all its loops, and no region and no machine."""
    ports = free_ports(2, LOOPBACK, random.Random())
    blueprint = Blueprint(0, (), 0, ports, control={"database_url": database_url})
    with installed(directory, blueprint, ("control",)) as urls:
        yield Control(urls["control"], directory / "secrets", database_url)
