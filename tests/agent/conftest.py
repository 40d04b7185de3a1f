"""A region in this process, as an agent sees one: goals, roots, permits, a tracker, and a bucket behind a data port."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fleetcast.agent import process
from fleetcast.agent.config import AgentConfig
from fleetcast.agent.leftovers import stop_services
from fleetcast.agent.unit_text import SERVICE, Place, template
from fleetcast.agent.units import hindrance
from fleetcast.artifacts.packing import pack
from fleetcast.artifacts.signing import envelope_digest, generate_key, load_private, sign_root
from fleetcast.http import raw, serving
from fleetcast.http.messages import decode
from fleetcast.model.artifact import Root, regional_content_blob, regional_manifest_blob
from fleetcast.model.errors import NotFound
from fleetcast.model.generation import Generation
from fleetcast.model.goal import EVERYONE, Cohort, Goal, Limits, ReleaseRef
from fleetcast.model.ids import (
    ArtifactName,
    CommitSha,
    DeploymentId,
    Digest,
    MachineId,
    RegionName,
    ServiceName,
)
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.messages.agents import (
    AnnounceReply,
    AnnounceRequest,
    GoalsReply,
    GoalsRequest,
    LeaseReply,
    LeaseRequest,
    MachineReport,
    MachineReportAccepted,
    PermitCall,
    PermitReply,
    RootReply,
)
from fleetcast.model.permit import PermitDecision, PermitRequest
from fleetcast.model.report import ServiceReport
from fleetcast.stores.blob_files import BlobFiles
from fleetcast.stores.data_grants import grant_read
from fleetcast.stores.data_port import DataPort
from fleetcast.swarm import tickets
from fleetcast.swarm.tracker import Tracker
from roots import root_of

DATA_KEY = b"k" * 32
SOON_S = 15.0


@dataclass(frozen=True)
class Release:
    """An artifact in the region's bucket, with its signed root."""

    ref: ReleaseRef
    root: Root
    envelope: str
    files: Mapping[str, bytes]


class Region:
    """Speaks the model's messages. What it is asked it remembers; what it answers is set by the test."""

    def __init__(self, directory: Path) -> None:
        self.files = BlobFiles(directory / "bucket")
        self.files.prepare()
        self.port = DataPort(directory / "bucket", DATA_KEY, "127.0.0.1", 0)
        self.worker_key = directory / "worker.key"
        self.worker_public = directory / "worker.pub"
        generate_key(self.worker_key, self.worker_public)
        self.url = ""
        self.goals: dict[str, Goal] = {}
        self.given: dict[str, dict[str, str]] = {}
        self.machines: dict[str, Machine] = {}
        self.envelopes: dict[Digest, str] = {}
        self.reports: dict[tuple[str, str], ServiceReport] = {}
        self.alarms: tuple[str, ...] = ()
        self.asked: list[PermitRequest] = []
        self.returned: list[PermitRequest] = []
        self.permit: Callable[[PermitRequest], PermitDecision] = lambda _: PermitDecision(True, 60.0, "")
        self.origin_open = True
        self.report_interval_s = 0.5
        self.progress_interval_s = 0.0
        self.heard = 0
        """Reports so far."""
        self.leased = 0
        self._version = 0
        self._goals_changed = asyncio.Event()
        self._news = asyncio.Condition()
        self._tracker = Tracker()
        self._ticket_key = Ed25519PrivateKey.generate()
        self._rng = Random(1)

    # What tests do

    def publish(
        self, source: Path, files: Mapping[str, str], *, service: str = "web", commit: str = "a", **recipe: Any
    ) -> Release:
        """Pack, sign and put into the bucket a directory with these files; ``recipe``: fields of the root."""
        tree = source / f"{service}-{commit}"
        for name, text in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(text.encode("latin-1"))
        content = bytearray()
        packed = pack(tree, content.extend)
        sha = CommitSha(commit[0] * 40)
        named = {"artifact": ArtifactName(f"{service}/{sha}"), "service": ServiceName(service), "commit_sha": sha}
        root = root_of(packed, **named, **recipe)
        envelope = sign_root(root, load_private(self.worker_key))
        self.envelopes[envelope_digest(envelope)] = envelope
        self.files.put(regional_manifest_blob(root.digest), packed.manifest)
        self.files.put(regional_content_blob(root.digest), bytes(content))
        ref = ReleaseRef(root.artifact, root.digest, envelope_digest(envelope))
        return Release(ref, root, envelope, {name: text.encode("latin-1") for name, text in files.items()})

    def want(self, release: Release, number: int, *, baseline: Release | None = None, **more: Any) -> Goal:
        """Make this the goal, at generation ``number`` by deployment ``d<number>`` unless told otherwise."""
        goal = Goal(
            service=release.root.service,
            environment="production",
            generation=Generation(0, number),
            deployment=DeploymentId(f"d{number}"),
            rollback=False,
            selector=Selector(),
            target=release.ref,
            baseline=baseline.ref if baseline else None,
            cohorts=(Cohort(Selector(), EVERYONE),),
            limits=Limits(),
            expires_at_ms=time.time_ns() // 1_000_000 + 3_600_000,
        )
        goal = replace(goal, **more)
        self.set_goals(**{**self.goals, goal.service: goal})
        return goal

    def give(self, machine: str, **labels: str) -> None:
        """Give a machine these labels."""
        self.given[machine] = labels
        self.set_goals(**self.goals)

    def set_goals(self, **goals: Goal) -> None:
        self.goals = goals
        self._version += 1
        changed, self._goals_changed = self._goals_changed, asyncio.Event()
        changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what the agent has said so far satisfies ``condition``."""
        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(condition), SOON_S)
            except TimeoutError:
                raise AssertionError(f"not in time; last reports: {self.reports}; alarms: {self.alarms}") from None

    async def reported(self, goal: Goal, phase: str, *, machine: str = "m1") -> ServiceReport:
        """The first report from now on that has this phase for that goal's deployment."""

        def there() -> bool:
            report = self.reports.get((machine, goal.service))
            return report is not None and (report.deployment, report.phase) == (goal.deployment, phase)

        await self.until(there)
        return self.reports[machine, goal.service]

    # What agents ask

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"].split("/")[2:]
        try:
            body = await raw.read_body(receive)
            await raw.answer(send, await self._answer(path, body))
        except Exception as error:
            await raw.answer_error(send, error)
        async with self._news:
            self._news.notify_all()

    async def _answer(self, path: list[str], body: bytes) -> object:
        match path:
            case ["goals"]:
                return await self._hold(decode(body, GoalsRequest))
            case ["reports"]:
                report = decode(body, MachineReport)
                self.reports.update({(report.machine.id, service.service): service for service in report.services})
                self.machines[report.machine.id] = report.machine
                self.alarms = report.alarms
                self.heard += 1
                return MachineReportAccepted()
            case ["roots", digest]:
                if digest not in self.envelopes:
                    raise NotFound("unknown_root", "no such root")
                return RootReply(self.envelopes[Digest(digest)])
            case ["permits", "release"]:
                self.returned.append(decode(body, PermitCall).request)
                return PermitReply(PermitDecision(True, 0.0, ""))
            case ["permits"]:
                request = decode(body, PermitCall).request
                self.asked.append(request)
                return PermitReply(self.permit(request))
            case ["swarms", digest, "announce"]:
                return self._announce(Digest(digest), decode(body, AnnounceRequest))
            case ["swarms", digest, "leases"]:
                return self._lease(Digest(digest), decode(body, LeaseRequest))
        raise NotFound("no_such_route", "/".join(path))

    async def _hold(self, request: GoalsRequest) -> GoalsReply:
        changed = self._goals_changed
        if request.etag == str(self._version):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), request.wait_s)
        selected = tuple(goal for goal in self.goals.values() if goal.selects(request.machine))
        key, given = tickets.public_hex(self._ticket_key), self.given.get(request.machine.id)
        return GoalsReply(str(self._version), selected, key, self.report_interval_s, self.progress_interval_s, given)

    def _announce(self, digest: Digest, request: AnnounceRequest) -> AnnounceReply:
        peers = self._tracker.announce(digest, request, time.monotonic(), self._rng)
        ticket = tickets.Ticket(digest, request.peer.machine, int(time.time() + 3600))
        return AnnounceReply(peers, tickets.sign(self._ticket_key, ticket), 1.0)

    def _lease(self, digest: Digest, request: LeaseRequest) -> LeaseReply:
        if not self.origin_open:
            return LeaseReply((), 0.0, None, None, 0.05)
        missing = [piece for first, last in request.missing for piece in range(first, last)]
        pieces = tuple(missing[: request.want])
        self.leased += len(pieces)
        until_ms = time.time_ns() // 1_000_000 + 60_000
        manifest = grant_read(self.port.url, DATA_KEY, regional_manifest_blob(digest), until_ms)
        content = grant_read(self.port.url, DATA_KEY, regional_content_blob(digest), until_ms)
        return LeaseReply(pieces, 30.0, manifest, content, 0.05)


@dataclass
class Agent:
    """A running agent; ``stop`` ends it as SIGTERM would, and what it started goes on."""

    config: AgentConfig
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(process.serve(self.config, self._stop, lambda _: ready.set()))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self._task, waiting}, timeout=SOON_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._task.done():
            self._task.result()
        assert ready.is_set()

    async def stop(self) -> None:
        self._stop.set()
        if self._task is not None:
            await asyncio.wait_for(self._task, SOON_S)
            self._task = None

    def service(self, name: str = "web") -> Path:
        return self.config.root / "services" / "production" / name

    def current(self, name: str = "web") -> dict[str, bytes]:
        """The files that ``current`` leads to."""
        tree = (self.service(name) / "current").resolve()
        return {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[Region]:
    region = Region(tmp_path)
    region.port.start()
    sock = serving.bind("127.0.0.1", 0)
    region.url = serving.url_of(sock)
    stop, started = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serving.serve(region, sock, stop, started=started.set))
    await started.wait()
    yield region
    stop.set()
    region.set_goals()
    await task
    region.port.close()


@pytest.fixture
def supervisor(pytestconfig: pytest.Config) -> Any:
    """What a run's services are supervised by: the agent, or systemd, for which tests are run on a machine that has it."""
    return pytestconfig.getoption("supervisor")


@pytest.fixture
async def agents(tmp_path: Path, region: Region, supervisor: Any) -> AsyncIterator[Callable[..., Agent]]:
    """Makes agents that are stopped at the end, with everything they started."""
    made: list[Agent] = []

    def make(name: str = "m1", **more: Any) -> Agent:
        config = AgentConfig(
            machine=Machine(MachineId(name), RegionName("eu"), labels={"name": name}),
            region_url=region.url,
            token="t",
            root=tmp_path / name,
            supervisor=supervisor,
            worker_public_keys=(region.worker_public,),
            stop_grace_s=2.0,
            settle_s=0.05,
            health_interval_s=0.02,
            goal_wait_s=5.0,
        )
        made.append(Agent(replace(config, **more)))
        return made[-1]

    yield make
    for agent in made:
        await agent.stop()
        await stop_services(agent.config.root, 2.0)
        assert _units_of(agent.config.root) == [], "what is stopped leaves no unit"


def _units_of(root: Path) -> list[str]:
    """What systemd has of an agent's services: files, and units that it remembers."""
    left: list[str] = []
    for base in (root / "services").glob("*/*") if hindrance() == "" else ():
        named = template(Place(str(base.resolve()), base.parent.name, base.name), SERVICE)
        left.extend(map(str, Path("/run/systemd/system").glob(f"{named}*")))
        listing = ("systemctl", "list-units", "--all", "--plain", "--full", "--no-legend", f"{named}*")
        left.extend(subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines())
    return left


@pytest.fixture
def until() -> Callable[..., Any]:
    """``await until(condition)``: look every few milliseconds, with a deadline."""

    async def look(condition: Callable[[], bool], within_s: float = SOON_S) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, "did not happen in time"
            await asyncio.sleep(0.01)

    return look
