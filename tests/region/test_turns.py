"""Whose turn it is at the origin: machines that wait for a lease come before those that come back for another."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fleetcast.artifacts.packing import pack
from fleetcast.artifacts.signing import envelope_digest, sign_root
from fleetcast.http import messages
from fleetcast.model.artifact import ArtifactRecord, artifact_record_key
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import MachineId
from fleetcast.model.limits import ANNOUNCE_INTERVAL_S, ORIGIN_IN_FLIGHT_MIN, ORIGIN_WAIT_S_MAX
from fleetcast.model.messages.agents import AnnounceRequest, LeaseReply, LeaseRequest, PeerAddress
from fleetcast.region.swarms import Swarms
from fleetcast.region.view import RegionView
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.limiter import Limiter
from fleetcast.stores.sqlite_kv import SqliteKv
from roots import root_of

CONTENT_BYTES = 16 << 20


class Origin:
    """A region that leases one artifact."""

    def __init__(self, swarms: Swarms, record: ArtifactRecord, count: int) -> None:
        self._swarms, self._record, self._count = swarms, record, count

    async def ask(self, name: str, held: tuple[int, ...] = (), want: int = 64, wait_s: float = 0.0) -> LeaseReply:
        release = self._record.release
        peer = PeerAddress(MachineId(name), "127.0.0.1", 1)
        here = AnnounceRequest(peer, release.root, complete=False, want=0)
        self._swarms.announce(release.digest, here, time.monotonic(), time.time())
        missing = ((0, self._count),) if want else ()
        request = LeaseRequest(peer.machine, release.root, missing, held, (), want, wait_s=wait_s)
        return await self._swarms.lease(release.digest, request, time.monotonic)


@pytest.fixture
async def origin(tmp_path: Path) -> AsyncIterator[Origin]:
    (tmp_path / "output").write_bytes(random.Random(3).randbytes(CONTENT_BYTES))
    root = root_of(pack(tmp_path / "output", lambda _: None))
    key = Ed25519PrivateKey.generate()
    envelope = sign_root(root, key)
    release = ReleaseRef(root.artifact, root.digest, envelope_digest(envelope))
    record = ArtifactRecord(release, envelope, root.manifest_size, root.content_size)
    kv = await SqliteKv.open(tmp_path / "kv.db")
    await kv.put(artifact_record_key(release.root), messages.encode(record))
    view = RegionView(kv)
    await view.load()
    bucket = DirectoryBlobs(tmp_path, data_url="http://127.0.0.1:1", data_key=b"k")
    started_at = time.monotonic() - ANNOUNCE_INTERVAL_S
    told = (Ed25519PrivateKey.generate(), [key.public_key()], started_at, random.Random(5), Limiter())
    yield Origin(Swarms(view, bucket, lambda _: True, *told), record, len(root.manifest_pieces) + root.chunks)
    await kv.close()


async def test_who_comes_back_for_more_comes_after_those_who_wait(origin: Origin) -> None:
    leased: dict[str, tuple[int, ...]] = {}
    while sum(map(len, leased.values())) < ORIGIN_IN_FLIGHT_MIN:
        name = f"reader-{len(leased)}"
        leased[name] = (await origin.ask(name)).pieces
        assert leased[name]
    waiting = [asyncio.create_task(origin.ask(f"waiting-{number}", wait_s=ORIGIN_WAIT_S_MAX)) for number in range(2)]
    await asyncio.sleep(0)
    again = []
    for reader, task in zip(leased, waiting, strict=False):
        again.append(asyncio.create_task(origin.ask(reader, held=leased[reader], wait_s=ORIGIN_WAIT_S_MAX)))
        done, _ = await asyncio.wait([*waiting, *again], return_when=asyncio.FIRST_COMPLETED)
        assert task in done, "in the order in which they came"
        assert task.result().pieces
        waiting = [each for each in waiting if each not in done]
        assert not done & set(again)
    await origin.ask("reader-2", held=leased["reader-2"], want=0)
    assert (await again[0]).pieces
    await origin.ask("reader-3", held=leased["reader-3"], want=0)
    assert (await again[1]).pieces
