"""A real control process: its own loops, SQLite files and data port in a temporary directory, on a real socket. Workers and
regions are played by the test, with real stores and real bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleetcast.artifacts.packing import Packed, pack
from fleetcast.artifacts.signing import generate_key, load_private, sign_root
from fleetcast.client.control import ControlClient
from fleetcast.control import process
from fleetcast.control.config import ControlConfig
from fleetcast.http.tokens import Role, TokenSet, load_or_create
from fleetcast.model.artifact import ArtifactRecord, Root, regional_content_blob, regional_manifest_blob
from fleetcast.model.deployment import ByteCounts, Deployment
from fleetcast.model.generation import Generation
from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.machine import Machine
from fleetcast.model.messages.builds import ClaimedBuild, CommitRequest, FinishedUpload
from fleetcast.model.messages.grants import Grant, PartReceipt
from fleetcast.model.messages.regions import RegionHello, RegionReport
from fleetcast.model.report import DeploymentRollup
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.transfer import GrantConnection
from roots import root_of

SOON_S = 10.0
"""Anything that takes longer than this does not happen."""
EU = RegionName("eu-west")
KEY = b"the region's own data key"


@dataclass
class Region:
    """A region with a bucket of its own behind a data port, and two machines that do as they are told."""

    client: ControlClient
    bucket: DirectoryBlobs
    port: DataPort
    machines: tuple[Machine, ...] = (Machine(MachineId("m1"), EU), Machine(MachineId("m2"), EU))

    async def hello(self) -> None:
        await self.client.hello(RegionHello(EU, self.port.url, KEY.hex()))

    async def report(self, *rollups: DeploymentRollup) -> None:
        await self.client.report(RegionReport(EU, self.machines, rollups, ()))

    async def copy(self, record: ArtifactRecord) -> None:
        """Fill the bucket from the main store, by grants."""
        digest = record.release.digest
        grants = await self.client.source_grants(digest)
        manifest = await asyncio.to_thread(_read, grants.manifest, record.manifest_size)
        content = await asyncio.to_thread(_read, grants.content, record.content_size)
        await self.bucket.put(regional_manifest_blob(digest), manifest)
        await self.bucket.put(regional_content_blob(digest), content)

    async def active(self, deployment: Deployment, generation: Generation, artifact_bytes: int) -> None:
        """Report that all machines run a deployment."""
        count = len(self.machines)
        fetched = ByteCounts(origin=artifact_bytes, peer=artifact_bytes * (count - 1))
        await self.report(
            DeploymentRollup(
                deployment.id, deployment.service, deployment.environment, generation, count, count, count, count, 0, fetched, 0
            )
        )


@contextlib.asynccontextmanager
async def _region(home: Path, client: ControlClient) -> AsyncIterator[Region]:
    root = home / "eu-west"
    root.mkdir(exist_ok=True)
    port = DataPort(root, KEY, "127.0.0.1", 0)
    port.start()
    try:
        yield Region(client, DirectoryBlobs(root, data_url=port.url, data_key=KEY), port)
    finally:
        await asyncio.to_thread(port.close)


class Upload:
    """Parts through the data port, as a worker's thread sends them."""

    def __init__(self, client: ControlClient, claimed: ClaimedBuild, connection: GrantConnection) -> None:
        self._client, self._claimed, self._connection = client, claimed, connection

    async def send(self, blob: str, data: bytes) -> FinishedUpload:
        build, token = self._claimed.build, self._claimed.token
        opened = await self._client.open_upload(build, token, blob)
        parts = [data[at : at + opened.part_bytes] for at in range(0, len(data), opened.part_bytes)]
        granted = await self._client.part_grants(build, token, opened.upload, 1, len(parts))
        receipts = []
        for number, (part, grant) in enumerate(zip(parts, granted.grants, strict=True), 1):
            etag = await asyncio.to_thread(self._connection.write, grant, memoryview(part))
            receipts.append(PartReceipt(number, len(part), etag))
        return FinishedUpload(opened.upload, tuple(receipts))


def _root(claimed: ClaimedBuild, packed: Packed) -> Root:
    about = {"artifact": claimed.name, "service": claimed.service, "commit_sha": claimed.commit_sha}
    return root_of(packed, **about, build=claimed.build, attempt=claimed.attempt)


def _read(grant: Grant, size: int) -> bytes:
    data = bytearray(size)
    with GrantConnection() as connection:
        connection.read_into(grant, 0, memoryview(data))
    return bytes(data)


@dataclass
class Installation:
    """One control process that runs, and whoever talks to it. What is opened through it is closed at the end."""

    home: Path
    addresses: Mapping[str, str] = field(default_factory=dict)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    opened: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def client(self, role: Role | None) -> ControlClient:
        """With that role's token; ``None``: without any."""
        token = "" if role is None else load_or_create(self.home, role)
        return await self.opened.enter_async_context(ControlClient(self.addresses["api"], token))

    async def region(self) -> Region:
        """A region that has said hello and reported its machines."""
        region = await self.opened.enter_async_context(_region(self.home, await self.client(Role.REGION)))
        await region.hello()
        await region.report()
        return region

    async def publish(self, worker: ControlClient, claimed: ClaimedBuild, text: str) -> CommitRequest:
        """Do what a worker does after the build command, for an output that says ``text``, up to and including the commit;
        returns what it committed."""
        content = bytearray()
        packed = await asyncio.to_thread(pack, self._output(text), content.extend)
        with GrantConnection() as connection:
            upload = Upload(worker, claimed, connection)
            sent = (await upload.send("content", bytes(content)), await upload.send("manifest", packed.manifest))
        envelope = sign_root(_root(claimed, packed), load_private(self.home / "worker.key"))
        request = CommitRequest(claimed.token, envelope, *sent)
        await worker.commit(claimed.build, request)
        return request

    def _output(self, text: str) -> Path:
        directory = self.home / f"output-{text}"
        directory.mkdir(exist_ok=True)
        (directory / "version").write_text(text)
        (directory / "page.html").write_bytes(b"<p>hello</p>" * 50_000)
        return directory


Control = Callable[..., AbstractAsyncContextManager[Installation]]


def configuration(home: Path, **changes: Any) -> ControlConfig:
    """Everything under ``home``; made on the first call, the same on every other."""
    if not (home / "worker.key").exists():
        generate_key(home / "worker.key", home / "worker.pub")
    chosen: dict[str, Any] = {
        "tokens": TokenSet({role: load_or_create(home, role) for role in Role}),
        "replication_check_interval_s": 0.1,
        "worker_public_keys": (home / "worker.pub",),
        "database_url": f"sqlite+aiosqlite:///{home / 'fleetcast.db'}",
        **changes,
    }
    return ControlConfig(
        data_key=home / "data.key",
        kv_path=home / "kv.db",
        main_bucket=home / "bucket",
        **chosen,
    )


@contextlib.asynccontextmanager
async def _control(home: Path, **changes: Any) -> AsyncIterator[Installation]:
    running, ready = Installation(home), asyncio.Event()

    def listening(addresses: Mapping[str, str]) -> None:
        running.addresses = addresses
        ready.set()

    served = asyncio.create_task(process.serve(configuration(home, **changes), running.stop, listening))
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({served, waiting}, timeout=SOON_S, return_when=asyncio.FIRST_COMPLETED)
        if served.done():
            await served
        assert ready.is_set()
        async with running.opened:
            yield running
    finally:
        waiting.cancel()
        running.stop.set()
        await asyncio.wait_for(served, SOON_S)


@pytest.fixture
def control(tmp_path: Path, database_url: str) -> Control:
    """``async with control(**settings) as installation``; a second call opens the same installation again."""

    def start(**changes: Any) -> AbstractAsyncContextManager[Installation]:
        return _control(tmp_path, **{"database_url": database_url, **changes})

    return start
