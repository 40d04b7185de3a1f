"""A control process over a database, and workers that call it."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleetcast.client.control import ControlClient
from fleetcast.http.tokens import load
from fleetcast.launch import installation
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK
from lab.host import Host
from lab.program import Program, end, pipe, wait_ready


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
    file = installation.create(directory, Blueprint(0, (), 0, ports, control={"database_url": database_url}))
    ready = directory / "control.ready"
    argv = [str(Path(sys.executable).with_name("fleetcast")), "control", "--settings", str(file), "--log-format", "json"]
    with pipe() as lifeline:
        argv += ["--ready-file", str(ready), "--lifeline", str(lifeline.reader)]
        program = Program("control", Host("loopback", LOOPBACK), argv, directory, pipes=[lifeline.reader])
        try:
            wait_ready([(program, ready)])
            yield Control(json.loads(ready.read_text())["api"], directory / "secrets", database_url)
        finally:
            end([program])
