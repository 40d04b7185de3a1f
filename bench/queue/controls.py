"""Control processes over one database, and those who call them."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleetcast.client.control import ControlClient
from fleetcast.http.tokens import load
from fleetcast.launch import installation
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK
from fleetcast.model.build import Recipe
from fleetcast.model.ids import ServiceName
from fleetcast.model.messages.services import ServiceSpec
from lab.host import Host
from lab.program import Program, end, pipe, wait_ready

SERVICES = [ServiceName(f"service-{number}") for number in range(50)]


@dataclass(frozen=True)
class Controls:
    """``asked``: what people trigger at; ``worked_at``: the one that workers claim at."""

    asked: str
    worked_at: str
    secrets: Path
    database_url: str

    @asynccontextmanager
    async def workers(self, count: int) -> AsyncIterator[list[ControlClient]]:
        """Each with connections of its own, as a worker process has."""
        token = load(self.secrets / "worker.token")
        async with AsyncExitStack() as opened:
            yield [await opened.enter_async_context(ControlClient(self.worked_at, token)) for _ in range(count)]

    def admin(self) -> ControlClient:
        return ControlClient(self.asked, load(self.secrets / "admin.token"))


@contextmanager
def two_controls(directory: Path, database_url: str) -> Iterator[Controls]:
    """Two, so that what is queued at one is claimed at the other: that takes word from one to the other."""
    ports = free_ports(4, LOOPBACK, random.Random())
    file = installation.create(directory, Blueprint(0, (), 0, ports[:2], control={"database_url": database_url}))
    command = str(Path(sys.executable).with_name("fleetcast"))
    here = Host("loopback", LOOPBACK)
    with ExitStack() as stack:
        lifeline = stack.enter_context(pipe())
        programs: list[Program] = []
        stack.callback(end, programs)
        for name, (port, data_port) in {"first": ports[:2], "second": ports[2:]}.items():
            ready = directory / f"{name}.ready"
            argv = [command, "control", "--settings", str(file), "--log-format", "json", "--ready-file", str(ready)]
            argv += [
                "--lifeline",
                str(lifeline.reader),
                "--set",
                f"control.port={port}",
                "--set",
                f"control.data_port={data_port}",
            ]
            programs.append(Program(name, here, argv, directory, pipes=[lifeline.reader]))
            wait_ready([(programs[-1], ready)])
        told = [json.loads((directory / f"{name}.ready").read_text())["api"] for name in ("first", "second")]
        yield Controls(told[0], told[1], directory / "secrets", database_url)


async def add_services(admin: ControlClient) -> None:
    for name in SERVICES:
        await admin.put_service(
            ServiceSpec(name, "/repository", recipe=Recipe(build="make", output="out", activate="exec true"))
        )
