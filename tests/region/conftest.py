"""What the tests of this room share: goals and machines, a control on a real socket, and the region process itself."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody

from fleetcast.artifacts.packing import pack
from fleetcast.artifacts.signing import envelope_digest, generate_key, load_private, sign_root
from fleetcast.control import kv_pages
from fleetcast.http import messages, serving
from fleetcast.http.application import application
from fleetcast.http.session import Session
from fleetcast.http.tokens import TokenSet
from fleetcast.model.artifact import ArtifactRecord, Root, artifact_record_key, goal_key, labels_key
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.errors import NotFound
from fleetcast.model.generation import Generation
from fleetcast.model.goal import EVERYONE, Cohort, Goal, Limits, ReleaseRef
from fleetcast.model.ids import (
    ArtifactName,
    DeploymentId,
    Digest,
    MachineId,
    RegionName,
    ServiceName,
)
from fleetcast.model.machine import GivenLabels, Machine, Selector
from fleetcast.model.messages.agents import GoalsReply, GoalsRequest
from fleetcast.model.messages.regions import KvPage, MachineAnswered, RegionHello, RegionReport, ReportAccepted, SourceGrants
from fleetcast.model.report import MachineAnswer, Phase, ServiceReport
from fleetcast.region.config import RegionConfig
from fleetcast.region.process import serve
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.kv import KeyValueStore
from fleetcast.stores.sqlite_kv import SqliteKv
from roots import root_of

T = TypeVar("T")
PATIENCE_S = 20.0
FAR_MS = 4_000_000_000_000
AGENT_TOKEN = "agents"
CONTENT_BYTES = 700_000
FIRST = Generation(0, 1)
ALL = Selector()
UNLIMITED = Limits()
COUNTS = ByteCounts(1, 2, 3)


async def eventually(look: Callable[[], Awaitable[T | None]]) -> T:
    """What ``look`` finds, as soon as it finds something; fails after ``PATIENCE_S``."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := await look()) is None:
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)
    return found


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[[Callable[[], Awaitable[T | None]]], Awaitable[T]]:
    return eventually


def release_of(letter: str) -> ReleaseRef:
    return ReleaseRef(ArtifactName(f"web/{letter * 40}"), Digest(letter * 64), Digest(letter * 64))


@pytest.fixture
def make_goal() -> Callable[..., Goal]:
    def make(
        service: str = "web",
        generation: Generation = FIRST,
        deployment: str = "d1",
        selector: Selector = ALL,
        target: ReleaseRef | None = None,
        limits: Limits = UNLIMITED,
    ) -> Goal:
        return Goal(
            service=ServiceName(service),
            environment="production",
            generation=generation,
            deployment=DeploymentId(deployment),
            rollback=False,
            selector=selector,
            target=target or release_of("a"),
            baseline=None,
            cohorts=(Cohort(Selector(), EVERYONE),),
            limits=limits,
            expires_at_ms=FAR_MS,
        )

    return make


@pytest.fixture
def make_machine() -> Callable[..., Machine]:
    def make(name: str, *, region: str = "eu", zone: str = "a") -> Machine:
        return Machine(MachineId(name), RegionName(region), zone)

    return make


@pytest.fixture
def make_report() -> Callable[..., ServiceReport]:
    def make(
        goal: Goal, phase: Phase, *, error: str = "", active_age_ms: int = 0, counts: ByteCounts = COUNTS
    ) -> ServiceReport:
        return ServiceReport(
            service=goal.service,
            environment=goal.environment,
            generation=goal.generation,
            deployment=goal.deployment,
            target=goal.target,
            phase=phase,
            running=goal.target if phase is Phase.ACTIVE else None,
            bytes=counts,
            target_bytes=6,
            active_age_ms=active_age_ms,
            error=error,
        )

    return make


@dataclass
class Control:
    """Control as a region sees it: its routes on a real socket, a real store of keys, a real main store of blobs."""

    kv: KeyValueStore
    directory: Path
    """Of the main store."""
    main: DirectoryBlobs
    token: str
    hellos: list[RegionHello] = field(default_factory=list)
    reports: list[RegionReport] = field(default_factory=list)
    wanted: tuple[MachineId, ...] = ()
    """Asked about in the answer to the next report."""
    answers: list[MachineAnswer] = field(default_factory=list)
    rollbacks_over: tuple[DeploymentId, ...] = ()
    """Told in the answer to every report."""
    port: int = 0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def come(self) -> None:
        """Start to answer, always at the same address."""
        sock = serving.bind("127.0.0.1", self.port)
        self.port = sock.getsockname()[1]
        self._stop, started = asyncio.Event(), asyncio.Event()
        app = application(self._routes(), TokenSet({}))
        self._server = asyncio.create_task(serving.serve(app, sock, self._stop, started=started.set))
        await started.wait()

    async def go_away(self) -> None:
        """Answer nobody."""
        self._stop.set()
        if self._server is not None:
            await self._server
            self._server = None

    async def put_goal(self, goal: Goal) -> None:
        await self.kv.put(goal_key(goal.environment, goal.service), messages.encode(goal))

    async def put_record(self, record: ArtifactRecord) -> None:
        await self.kv.put(artifact_record_key(record.release.root), messages.encode(record))

    async def put_labels(self, machine: MachineId, **labels: str) -> None:
        await self.kv.put(labels_key(machine), messages.encode(GivenLabels(machine, labels)))

    def _routes(self) -> list:  # type: ignore[type-arg]  # Litestar's own alias is not exported
        @post("/v1/regions/{region:str}/hello", status_code=200)
        async def hello(region: FromPath[str], data: JSONBody[RegionHello]) -> ReportAccepted:
            self.hellos.append(data)
            return ReportAccepted()

        @post("/v1/regions/{region:str}/report", status_code=200)
        async def report(region: FromPath[str], data: JSONBody[RegionReport]) -> ReportAccepted:
            self.reports.append(data)
            wanted, self.wanted = self.wanted, ()
            return ReportAccepted(wanted, rollbacks_over=self.rollbacks_over)

        @post("/v1/regions/{region:str}/answers", status_code=200)
        async def answer(region: FromPath[str], data: JSONBody[MachineAnswered]) -> ReportAccepted:
            self.answers.append(data.answer)
            return ReportAccepted()

        @get("/v1/kv")
        async def page(prefix: FromQuery[str], after: FromQuery[int]) -> KvPage:
            return await self.kv_page(prefix, after)

        @post("/v1/artifacts/{digest:str}/source", status_code=200)
        async def source(digest: FromPath[str]) -> SourceGrants:
            if await self.main.stat(f"{digest}/content") is None:
                raise NotFound("unknown_artifact", f"no artifact has the digest {digest}")
            manifest = await self.main.read_grant(f"{digest}/manifest", lifetime_s=60)
            return SourceGrants(Digest(digest), manifest, await self.main.read_grant(f"{digest}/content", lifetime_s=60))

        return [hello, report, answer, page, source]

    async def kv_page(self, prefix: str, after: int, wait_s: float = 0.0) -> KvPage:
        """The same for tests without a socket."""
        return await kv_pages.page(self.kv, prefix, after, wait_s)


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    directory = tmp_path / "control"
    directory.mkdir()
    kv = await SqliteKv.open(directory / "kv.db")
    bucket = directory / "bucket"
    bucket.mkdir()
    port = DataPort(bucket, b"main", "127.0.0.1", 0)
    port.start()
    control = Control(kv, bucket, DirectoryBlobs(bucket, data_url=port.url, data_key=b"main"), "region")
    await control.come()
    yield control
    await control.go_away()
    await asyncio.to_thread(port.close)
    await kv.close()


@dataclass
class Region:
    """A region process under test. It runs in this process's event loop, on sockets of its own."""

    config: RegionConfig
    addresses: dict[str, str] = field(default_factory=dict)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    sessions: list[Session] = field(default_factory=list)

    async def start(self) -> None:
        self._stop, listening = asyncio.Event(), asyncio.Event()

        def told(addresses: object) -> None:
            assert isinstance(addresses, dict)
            self.addresses = dict(addresses)
            listening.set()

        self._task = asyncio.create_task(serve(self.config, self._stop, told))
        waiting = asyncio.create_task(listening.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        self._stop.set()
        if self._task is not None:
            await asyncio.wait_for(self._task, PATIENCE_S)
            self._task = None

    def agent(self, token: str = AGENT_TOKEN) -> Session:
        """What an agent calls this region with."""
        session = Session(self.addresses["api"], token)
        self.sessions.append(session)
        return session

    async def goals(self, agent: Session, machine: Machine, etag: str = "", wait_s: float = 0.0) -> GoalsReply:
        request = GoalsRequest(machine, etag, wait_s)
        return await agent.ask("POST", "/v1/goals", request, reply=GoalsReply, timeout_s=wait_s + 10)


@pytest.fixture
async def region(tmp_path: Path, control: Control) -> AsyncIterator[Region]:
    directory = tmp_path / "eu"
    directory.mkdir()
    generate_key(tmp_path / "worker.key", tmp_path / "worker.pub")
    config = RegionConfig(
        region=RegionName("eu"),
        control_url=control.url,
        token=control.token,
        agent_token=AGENT_TOKEN,
        kv_path=directory / "kv.db",
        bucket=directory / "bucket",
        data_key=directory / "data.key",
        ticket_key=directory / "tickets.key",
        worker_public_keys=(tmp_path / "worker.pub",),
        kv_poll_interval_s=0.05,
        report_interval_s=0.05,
        permit_lifetime_s=0.5,
        bucket_recheck_interval_s=0.1,
    )
    region = Region(config)
    await region.start()
    yield region
    for session in region.sessions:
        await session.aclose()
    await region.stop()


@dataclass
class Built:
    """An artifact in the main store."""

    record: ArtifactRecord
    root: Root
    content: bytes


@pytest.fixture
async def built(tmp_path: Path, region: Region, control: Control) -> Built:
    output = tmp_path / "output"
    output.mkdir()
    content = random.Random(3).randbytes(CONTENT_BYTES)
    (output / "server").write_bytes(content)
    packed = pack(output, lambda _: None)
    root = root_of(packed)
    digest = root.digest
    envelope = sign_root(root, load_private(tmp_path / "worker.key"))
    await control.main.put(f"{digest}/manifest", packed.manifest)
    await control.main.put(f"{digest}/content", content)
    release = ReleaseRef(root.artifact, digest, envelope_digest(envelope))
    return Built(ArtifactRecord(release, envelope, root.manifest_size, root.content_size), root, content)
