"""A fleet of real agents whose service is asked all the time whether it is well, for benchmarks of what deployments do to it.

Every machine is asked every 100 ms whether its service answers. One that does not is without service, unless its own
change-over is under way: then it holds a permit to be down.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from fleetcast.agent.layout import MachineLayout, ServiceKey, ServiceLayout
from fleetcast.cli.demo.company import Company
from fleetcast.client.control import ControlClient
from fleetcast.model.deployment import Deployment, DeploymentState
from fleetcast.model.ids import CommitSha, DeploymentId, ServiceName
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.plan import Policy
from lab.errors import LabError

SERVICE: Final = ServiceKey("production", "web")
SAMPLE_S: Final = 0.1
ANSWER_S_MAX: Final = 2.0
DEPLOYMENT_WAIT_S: Final = 30.0

Services = Mapping[str, tuple[int, ServiceLayout]]
"""Port and place of each machine's service."""


@dataclass(slots=True)
class Watch:
    """Asks every machine in turn, in a thread of its own, until it is ended."""

    services: Services
    samples: int = 0
    without: set[str] = field(default_factory=set)
    """Machines that did not answer and were not in a change-over."""
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self.look()
            self._over.wait(max(0.0, SAMPLE_S - (time.monotonic() - began)))

    def end(self) -> None:
        self._over.set()

    def look(self) -> None:
        """One sample of each."""
        for machine, (port, layout) in self.services.items():
            permitted = _changing_over(layout)
            if not _answers(port) and not (permitted or _changing_over(layout)):
                self.without.add(machine)
        self.samples += 1

    def left_without(self) -> int:
        """How many machines were, at some sample or are now that everything is over."""
        at_the_end = {machine for machine, (port, _) in self.services.items() if not _answers(port)}
        return len(self.without | at_the_end)


@asynccontextmanager
async def watching(services: Services) -> AsyncIterator[Watch]:
    """Watch them for as long as the block takes."""
    watch = Watch(services)
    thread = threading.Thread(target=watch.run, name="watch")
    thread.start()
    try:
        yield watch
    finally:
        watch.end()
        await asyncio.to_thread(thread.join)


def services_of(company: Company) -> Services:
    """Of every machine."""
    layouts = {
        agent.machine: MachineLayout(company.directory / "machines" / agent.machine).service(SERVICE)
        for agent in company.settings.agents
    }
    return {agent.machine: (int(agent.environment["PORT"]), layouts[agent.machine]) for agent in company.settings.agents}


async def deploy(control: ControlClient, commit: CommitSha, policy: Policy | None) -> Deployment:
    """To its end."""
    triggered = await control.deploy(DeployRequest(ServiceName(SERVICE.service), commit, plan=policy))
    return await to_the_end(control, triggered.id)


async def deploy_well(control: ControlClient, commit: CommitSha) -> None:
    """To all machines at once. Raises :class:`LabError` where that does not succeed."""
    ended = await deploy(control, commit, Policy())
    if ended.state is not DeploymentState.SUCCEEDED:
        raise LabError(f"a good release did not get out: {ended.state}: {ended.reason}")


async def to_the_end(control: ControlClient, deployment: DeploymentId) -> Deployment:
    """As it ended."""
    seen = ""
    while True:
        detail = await control.deployment(deployment, wait_s=DEPLOYMENT_WAIT_S, seen=seen)
        if detail.deployment.state.ended:
            return detail.deployment
        seen = detail.version


def fleet_options(parser: argparse.ArgumentParser) -> None:
    """``--machines`` and ``--regions``."""
    parser.add_argument("--machines", type=int, default=24, help="real agents; default 24")
    parser.add_argument("--regions", type=int, default=3, help="default 3")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S_MAX) as connection:
            connection.settimeout(ANSWER_S_MAX)
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.0 200")
    except OSError:
        return False


def _changing_over(layout: ServiceLayout) -> bool:
    return json.loads(layout.state.read_text())["activation"] is not None
