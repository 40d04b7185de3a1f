"""Real git repositories, and a real control process whose builds a worker claims."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetcast.artifacts.signing import generate_key
from fleetcast.client.control import ControlClient
from fleetcast.control import process as control_process
from fleetcast.control.config import ControlConfig
from fleetcast.http.tokens import Role, TokenSet, load_or_create
from fleetcast.model.build import Build
from fleetcast.model.ids import BuildId, CommitSha, DeploymentId, MachineId, RegionName, ServiceName, commit_sha
from fleetcast.model.machine import Machine
from fleetcast.model.messages.artifacts import BuildRequest
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.regions import RegionHello, RegionReport
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.worker.config import WorkerConfig
from fleetcast.worker.process import serve

EU = RegionName("eu-west")
SOON_S = 20.0
"""What takes longer does not happen."""


class Repository:
    """A working repository whose commits add files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        who = {f"GIT_{role}_{what}": "a@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"], **who}
        ended = subprocess.run(["git", *arguments], cwd=self.path, env=environment, check=True, capture_output=True, text=True)
        return ended.stdout.strip()

    def commit(self, files: Mapping[str, str]) -> CommitSha:
        for name, text in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a change")
        return commit_sha(self.git("rev-parse", "HEAD"))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@dataclass
class Company:
    """A running control, seen by somebody who deploys, and what a worker of it is configured with."""

    home: Path
    people: ControlClient
    worker: WorkerConfig
    deployment: DeploymentId | None = None

    async def order(self, repository: Repository, commit: CommitSha, *, trunk: str = "main") -> BuildId:
        """Have a commit built."""
        web = ServiceName("web")
        await self.people.put_service(ServiceSpec(web, str(repository.path), trunk=trunk))
        deployment = await self.people.deploy(DeployRequest(web, commit))
        assert deployment.build is not None
        self.deployment = deployment.id
        return deployment.build

    async def build(self) -> Build:
        assert self.deployment is not None
        build = (await self.people.deployment(self.deployment)).build
        assert build is not None
        return build

    async def until(self, condition: Callable[[Build], bool]) -> Build:
        seen = ""
        assert self.deployment is not None
        async with asyncio.timeout(SOON_S):
            while True:
                detail = await self.people.deployment(self.deployment, wait_s=5, seen=seen)
                if detail.build is not None and condition(detail.build):
                    return detail.build
                seen = detail.version

    async def ended(self) -> Build:
        return await self.until(lambda build: build.status.ended)

    async def log(self, build: BuildId) -> str:
        return (await self.people.build_log(build)).text


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Company]:
    async with _company(tmp_path, heartbeat_interval_s=0.2) as company:
        yield company


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[Company]:
    """With heartbeats that never come in a test."""
    async with _company(tmp_path, heartbeat_interval_s=200, heartbeat_silence_s_max=600, build_command_s_max=100) as company:
        yield company


@contextlib.asynccontextmanager
async def _company(tmp_path: Path, **settings: float) -> AsyncIterator[Company]:
    home = tmp_path / "company"
    home.mkdir()
    generate_key(home / "worker.key", home / "worker.pub")
    config = ControlConfig(
        tokens=TokenSet({role: load_or_create(home, role) for role in Role}),
        data_key=home / "data.key",
        database_url=f"sqlite+aiosqlite:///{home / 'fleetcast.db'}",
        kv_path=home / "kv.db",
        main_bucket=home / "bucket",
        worker_public_keys=(home / "worker.pub",),
        reaper_interval_s=0.2,
        **{"heartbeat_silence_s_max": 5, "build_command_s_max": 3, **settings},
    )
    stop, addresses = asyncio.Event(), asyncio.get_running_loop().create_future()
    served = asyncio.create_task(control_process.serve(config, stop, addresses.set_result))
    try:
        await asyncio.wait({served, addresses}, timeout=SOON_S, return_when=asyncio.FIRST_COMPLETED)
        url = addresses.result()["api"]
        worker = WorkerConfig(
            name="worker-1",
            control_url=url,
            token=load_or_create(home, Role.WORKER),
            workspace=home / "workspace",
            signing_key=home / "worker.key",
            claim_wait_s=1,
            poll_interval_s=0.1,
            kill_grace_s=0.5,
            sandbox="off",
        )
        async with ControlClient(url, load_or_create(home, Role.REGION)) as region:
            # Somewhere to deploy to, or control would not build at all. Nobody answers there.
            await region.hello(RegionHello(EU, "http://127.0.0.1:9", "00" * 32))
            await region.report(RegionReport(EU, (Machine(MachineId("m1"), EU),), (), ()))
        async with ControlClient(url, load_or_create(home, Role.ADMIN)) as people:
            yield Company(home, people, worker)
    finally:
        stop.set()
        await asyncio.wait_for(served, SOON_S)


Working = Callable[[WorkerConfig], AbstractAsyncContextManager[asyncio.Event]]


@pytest.fixture
def working() -> Working:
    """``async with working(config) as stop``: a worker runs until the end of the block."""

    @contextlib.asynccontextmanager
    async def work(config: WorkerConfig) -> AsyncIterator[asyncio.Event]:
        stop, ready = asyncio.Event(), asyncio.Event()
        served = asyncio.create_task(serve(config, stop, lambda _: ready.set()))
        try:
            await asyncio.wait({served, asyncio.ensure_future(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
            yield stop
        finally:
            stop.set()
            await asyncio.wait_for(served, SOON_S)

    return work


WEB = ServiceName("web")
GATED = """\
[build]
command = '''
touch {gates}/$FLEETCAST_BUILD
while [ ! -e {gates}/{opens} ]; do sleep 0.05; done
mkdir out; echo {opens} > out/page
'''
output = "out"
"""


class Gated:
    """Builds that say that they run, and wait until they may end."""

    def __init__(self, company: Company, repository: Repository) -> None:
        self.company, self._repository = company, repository
        self.gates = company.home / "gates"
        self.gates.mkdir()

    async def order(self, opens: str) -> BuildId:
        """A build that ends when there is a gate of that name."""
        commit = self._repository.commit({"fleetcast.toml": GATED.format(gates=self.gates, opens=opens)})
        await self.company.people.put_service(ServiceSpec(WEB, str(self._repository.path)))
        build: Build = await self.company.people.order_build(BuildRequest(WEB, commit))
        return build.id

    async def until_it_runs(self, build: BuildId) -> None:
        async with asyncio.timeout(SOON_S):
            while not (self.gates / str(build)).exists():  # noqa: ASYNC110 -- another process makes it
                await asyncio.sleep(0.02)

    def open(self, gate: str) -> None:
        (self.gates / gate).touch()

    async def ended(self, build: BuildId) -> Build:
        seen = ""
        async with asyncio.timeout(SOON_S):
            while True:
                detail = await self.company.people.build(build, wait_s=5, seen=seen)
                if detail.build.status.ended:
                    found: Build = detail.build
                    return found
                seen = detail.version

    async def now(self, build: BuildId) -> Build:
        found: Build = (await self.company.people.build(build)).build
        return found


@pytest.fixture
def gated(slow: Company, repository: Repository) -> Gated:
    return Gated(slow, repository)
