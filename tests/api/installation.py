"""A small real installation to be tried by schemathesis: made, put back in order afterwards, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fleetcast.cli.demo.repository import Commit, make_example
from fleetcast.client.control import ControlClient
from fleetcast.http.tokens import Role, load, token_path
from fleetcast.launch import installation, sweeper
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports
from fleetcast.model.build import BuildStatus, Recipe
from fleetcast.model.deployment import Deployment, DeploymentState
from fleetcast.model.errors import FleetcastError
from fleetcast.model.ids import MachineId, RegionName, ServiceName
from fleetcast.model.messages.artifacts import BuildRequest
from fleetcast.model.messages.builds import ClaimedBuild
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.fleet import LabelsRequest
from fleetcast.model.messages.services import ServiceSpec

REGION: Final = RegionName("local")
SERVICE: Final = ServiceName("web")
SPARE: Final = ServiceName("spare")
MACHINES: Final = 2
READY_S_MAX: Final = 90
STOP_S_MAX: Final = 60
ENDED_S_MAX: Final = 180
_PACE: Final[dict[str, Any]] = {
    "control": {"replication_check_interval_s": 0.5},
    "region": {"kv_poll_interval_s": 0.5, "report_interval_s": 0.5, "agent_report_interval_s": 0.5},
}


@dataclass(frozen=True, slots=True)
class Installation:
    """``fleetcast up`` with one worker, one region, two machines, and a repository to deploy from."""

    directory: Path
    url: str
    repository: Path
    commits: Sequence[Commit]

    def token(self, role: Role) -> str:
        return load(token_path(self.directory / "secrets", role))

    @contextlib.asynccontextmanager
    async def admin(self) -> AsyncIterator[ControlClient]:
        async with ControlClient(self.url, self.token(Role.ADMIN)) as control:
            yield control

    async def until_machines_report(self) -> None:
        async with self.admin() as control, asyncio.timeout(READY_S_MAX):
            while len([machine async for machine in control.machines()]) < MACHINES:  # noqa: ASYNC110 -- other processes' machines
                await asyncio.sleep(0.1)

    async def deployed(self, commit: Commit) -> Deployment:
        """A deployment of the service, to its end. Whatever else its machines wait for was cleared away before."""
        async with self.admin() as control:
            await control.put_service(ServiceSpec(SERVICE, str(self.repository)))
            # Built anew: somebody may have had it built on other terms meanwhile.
            triggered = await control.deploy(DeployRequest(SERVICE, commit.sha, rebuild=True))
            end, seen = time.monotonic() + ENDED_S_MAX, ""
            while time.monotonic() < end:
                detail = await control.deployment(triggered.id, wait_s=5, seen=seen)
                seen = detail.version
                if detail.deployment.state.ended:
                    break
            if detail.deployment.state is not DeploymentState.SUCCEEDED:
                sys.exit(f"a deployment should have SUCCEEDED: {detail.deployment.state} {detail.deployment.reason}")
            return detail.deployment

    async def held_builds(self) -> list[ClaimedBuild]:
        """Two builds that somebody who does nothing has claimed, while the worker was at another one."""
        async with self.admin() as control, ControlClient(self.url, self.token(Role.WORKER)) as worker:
            slow = Recipe(build="sleep 5", output="page.html")
            await control.put_service(ServiceSpec(SPARE, str(self.repository), recipe=slow))
            first, *others = self.commits
            busy, seen = (await control.order_build(BuildRequest(SPARE, first.sha))).id, ""
            while (detail := await control.build(busy, wait_s=5, seen=seen)).build.status is BuildStatus.QUEUED:
                seen = detail.version
            for commit in others:
                await control.order_build(BuildRequest(SPARE, commit.sha))
            claimed = [await worker.claim("nobody", wait_s=1) for _ in others]
            assert None not in claimed, "the worker was faster"
            return [each for each in claimed if each is not None]

    async def known(self) -> dict[str, list[str | int]]:
        """Names of what there is, by kind: so that not every question is about something that is not."""
        held, doomed = await self.held_builds()
        async with self.admin() as control:
            deployments = [deployment async for deployment in control.deployments()]
            artifacts = [artifact async for artifact in control.artifacts()]
            return {
                "service": [SERVICE],
                "environment": ["production"],
                "region": [REGION],
                "machine": [machine.id async for machine in control.machines()],
                "deployment": [deployment.id for deployment in deployments],
                "build": [held.build, *(artifact.build for artifact in artifacts)],
                "held": [held.build],
                "token": [held.token],
                "doomed_build": [doomed.build],
                "doomed_token": [doomed.token],
                "start": [""],
                "revision": [0],
                "removable": [SPARE],
                "commit": [artifact.commit_sha for artifact in artifacts],
                "digest": [artifact.digest for artifact in artifacts],
            }

    async def put_in_order(self) -> None:
        """Undo what keeps the next deployment from succeeding: others under way, regions and machines that are none, labels,
        and where the region's bucket is said to be."""
        async with self.admin() as control:
            async for deployment in control.deployments():
                if not deployment.state.ended:
                    with contextlib.suppress(FleetcastError):  # it ended meanwhile
                        await control.abort(deployment.id)
            async for region in control.regions():
                await control.drain(region.name, drained=region.name != REGION)
            async for machine in control.machines(region=REGION):
                await control.label(MachineId(machine.id), LabelsRequest({}))
        process = json.loads((self.directory / "run" / f"region-{REGION}.ready").read_text())["pid"]
        os.kill(process, signal.SIGTERM)  # it is started again, and says where its bucket is


@contextlib.contextmanager
def running() -> Iterator[Installation]:
    """An installation in a temporary directory, up and with nothing in it. All of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="fleetcast-api-", ignore_cleanup_errors=True) as temporary:
        directory = Path(temporary) / "data"
        ports = free_ports(Blueprint.ports_needed(1, MACHINES), "127.0.0.1", random.Random())
        installation.create(directory, Blueprint(1, (REGION,), MACHINES, ports, **_PACE))
        commits = make_example(Path(temporary) / "web", 1 << 20)
        said = Path(temporary) / "up.log"
        with open(said, "wb") as output:
            up = subprocess.Popen(
                [sys.executable, "-m", "fleetcast", "up", str(directory)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            made = Installation(directory, f"http://127.0.0.1:{ports[0]}", Path(temporary) / "web", commits)
            _until_ready(up, said)
            asyncio.run(made.until_machines_report())
            yield made
        finally:
            up.terminate()
            up.wait(STOP_S_MAX)
            sweeper.end_processes(directory)
            sweeper.remove(directory)


def _until_ready(up: subprocess.Popen[bytes], said: Path) -> None:
    end = time.monotonic() + READY_S_MAX
    while not any(line.startswith("ready") for line in said.read_text().splitlines()):
        if up.poll() is not None or time.monotonic() > end:
            sys.exit(f"fleetcast up was not ready within {READY_S_MAX} s; it said:\n{said.read_text()}")
        time.sleep(0.1)
