"""A region in this process: real peers on real sockets, a real bucket behind a real data port, tracker and lease books."""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fleetcast.artifacts.manifest import Entry, Manifest, decode, encode
from fleetcast.artifacts.packing import pack
from fleetcast.artifacts.tree import lay_out
from fleetcast.model.artifact import Root, regional_content_blob, regional_manifest_blob
from fleetcast.model.errors import Unavailable
from fleetcast.model.ids import Digest, MachineId, RegionName
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import AnnounceReply, AnnounceRequest, LeaseReply, LeaseRequest
from fleetcast.stores.blob_files import BlobFiles
from fleetcast.stores.data_grants import grant_read
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.limiter import Limiter
from fleetcast.swarm import tickets
from fleetcast.swarm.bandwidth import Bandwidth
from fleetcast.swarm.journal import Journal, Source
from fleetcast.swarm.leases import LeaseBook
from fleetcast.swarm.peer import Fetch, SwarmPeer
from fleetcast.swarm.piece_files import PieceFiles
from fleetcast.swarm.pieces import PieceMap
from fleetcast.swarm.tracker import Tracker
from roots import root_of, root_of_manifest

DATA_KEY = b"k" * 32
DONE_S_MAX = 30.0


@dataclass(frozen=True)
class Artifact:
    source: Path
    root: Root
    root_digest: Digest
    manifest: bytes
    content: bytes

    @property
    def pieces(self) -> PieceMap:
        return PieceMap(self.root, decode(self.manifest))


def make_artifact(source: Path) -> Artifact:
    """Pack a file or directory."""
    content = bytearray()
    packed = pack(source, content.extend)
    return Artifact(source, root_of(packed), Digest("f" * 64), packed.manifest, bytes(content))


@dataclass
class Region:
    """Tracker, lease books, tickets and bucket; ``away`` and ``origin_away`` switch parts of it off."""

    bucket: BlobFiles
    port: DataPort
    limit: Limiter
    """Of the port."""
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    tracker: Tracker = field(default_factory=Tracker)
    books: dict[Digest, LeaseBook] = field(default_factory=dict)
    away: bool = False
    origin_away: bool = False
    introduces: bool = True
    ticket_s: float = 3600
    allowed: dict[MachineId, int] = field(default_factory=dict)
    """How many pieces of the origin a machine may still have; any number where nothing is said."""
    leased: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._rng = Random(1)

    @property
    def ticket_key(self) -> str:
        return tickets.public_hex(self.key)

    def put(self, artifact: Artifact) -> None:
        self.bucket.put(regional_manifest_blob(artifact.root.digest), artifact.manifest)
        self.bucket.put(regional_content_blob(artifact.root.digest), artifact.content)

    def announce(self, digest: Digest, request: AnnounceRequest) -> AnnounceReply:
        if self.away:
            raise Unavailable("region_away", "the region is switched off")
        with self._lock:
            peers = self.tracker.announce(digest, request, time.monotonic(), self._rng) if self.introduces else ()
        ticket = tickets.Ticket(digest, request.peer.machine, int(time.time() + self.ticket_s))
        return AnnounceReply(peers, tickets.sign(self.key, ticket), 1.0)

    def lease(self, digest: Digest, request: LeaseRequest) -> LeaseReply:
        if self.away:
            raise Unavailable("region_away", "the region is switched off")
        now = time.monotonic()
        with self._lock:
            book = self.books.setdefault(digest, LeaseBook(1_000_000, now))
            want = 0 if self.origin_away else min(request.want, self.allowed.get(request.machine, request.want))
            request = replace(request, want=want)
            decision = book.lease(request, now, lambda machine: self.tracker.alive(digest, machine, now), self._rng)
            self.leased += decision.pieces
            if request.machine in self.allowed:
                self.allowed[request.machine] -= len(decision.pieces)
        until = int(time.time() * 1000) + 60_000
        manifest = grant_read(self.port.url, DATA_KEY, regional_manifest_blob(digest), until)
        content = grant_read(self.port.url, DATA_KEY, regional_content_blob(digest), until)
        return LeaseReply(decision.pieces, decision.expires_in_s, manifest, content, 0.05)


class World:
    """Peers of one region, and what to do with them."""

    def __init__(self, directory: Path, region: Region) -> None:
        self.directory = directory
        self.region = region
        self.peers: list[SwarmPeer] = []

    def peer(
        self, name: str, zone: str = "", rack: str = "", *, trusting: bool = True, bandwidth: Bandwidth | None = None
    ) -> SwarmPeer:
        machine = Machine(MachineId(name), RegionName("r1"), zone, rack)
        peer = SwarmPeer(machine, "127.0.0.1", 0, self.region, bandwidth=bandwidth)
        peer.start()
        if trusting:
            peer.trust(self.region.ticket_key)
        self.peers.append(peer)
        return peer

    def artifact(self, name: str = "source", size: int = 2_000_000, seed: int = 7) -> Artifact:
        """An artifact with files of every kind, in the region's bucket."""
        return self.artifact_of(write_tree(self.directory / name, size, seed))

    def artifact_of(self, source: Path) -> Artifact:
        artifact = make_artifact(source)
        self.region.put(artifact)
        return artifact

    def artifact_without_content(self, source: Path, entries: tuple[Entry, ...]) -> Artifact:
        """One that packing refuses to make, and the swarm delivers all the same."""
        empty = Digest(hashlib.sha256(b"").hexdigest())
        manifest = encode(Manifest(entries, array("I"), b"", 0, empty))
        artifact = Artifact(source, root_of_manifest(manifest, len(entries)), Digest("f" * 64), manifest, b"")
        self.region.put(artifact)
        return artifact

    def fetch(self, peer: SwarmPeer, artifact: Artifact, name: str, donors: Sequence[Path] = ()) -> Fetch:
        return peer.fetch(artifact.root, artifact.root_digest, self.directory / name, donors)

    def release(self, artifact: Artifact, name: str) -> Path:
        """A complete release directory, made by hand."""
        release = self.directory / name
        release.mkdir()
        (release / "manifest").write_bytes(artifact.manifest)
        if artifact.source.is_dir():
            shutil.copytree(artifact.source, release / "tree", symlinks=True)
        else:
            (release / "tree").mkdir()
            shutil.copy2(artifact.source, release / "tree")
        return release

    def partial(self, artifact: Artifact, name: str, keep: Callable[[int], bool]) -> int:
        """A fetch's directory as a machine that lost its power leaves it, with some of the chunks; their bytes."""
        directory = self.directory / name
        manifest = decode(artifact.manifest)
        directory.mkdir()
        (directory / "manifest").write_bytes(artifact.manifest)
        lay_out(manifest, directory / "tree")
        pieces = PieceMap(artifact.root, manifest)
        files = PieceFiles(artifact.root, directory, writable=True)
        files.open_tree(manifest, pieces)
        journal = Journal(directory / "journal")
        payload = 0
        for piece in filter(keep, range(pieces.manifest_count, pieces.count)):
            offset, length = pieces.offset_in_blob(piece), pieces.length(piece)
            files.write(piece, memoryview(artifact.content)[offset : offset + length])
            journal.add(piece, Source.ORIGIN)
            payload += length
        journal.close()
        files.close()
        return payload

    def ticket(self, artifact: Artifact, machine: str, key: Ed25519PrivateKey | None = None, lifetime_s: int = 60) -> str:
        ticket = tickets.Ticket(artifact.root.digest, MachineId(machine), int(time.time()) + lifetime_s)
        return tickets.sign(key or self.region.key, ticket)

    def assert_complete(self, fetch: Fetch, artifact: Artifact, name: str) -> None:
        """Done, the bytes on disk are those that were packed, and their counts add up."""
        assert fetch.wait(DONE_S_MAX), fetch.progress()
        progress = fetch.progress()
        assert (progress.done, progress.error) == (True, "")
        assert progress.bytes.total == progress.bytes_total == len(artifact.content)
        self.assert_release(artifact, name)

    def assert_release(self, artifact: Artifact, name: str) -> None:
        """The bytes on disk are those that were packed."""
        release = self.directory / name
        assert (release / "manifest").read_bytes() == artifact.manifest
        assert describe(release / "tree") == describe(artifact.source)
        assert not (release / "tree").stat().st_mode & 0o222

    def until(self, condition: Callable[[], bool]) -> None:
        """Look until it holds; fails after ``DONE_S_MAX``."""
        deadline = time.monotonic() + DONE_S_MAX
        look_again = threading.Event()
        while not condition():
            assert time.monotonic() < deadline, "it did not come to pass"
            look_again.wait(0.01)


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    files = BlobFiles(tmp_path / "bucket")
    files.prepare()
    limit = Limiter()
    port = DataPort(tmp_path / "bucket", DATA_KEY, "127.0.0.1", 0, limit, background=True)
    port.start()
    yield Region(files, port, limit)
    port.close()


@pytest.fixture
def world(tmp_path: Path, region: Region) -> Iterator[World]:
    threads, descriptors = set(threading.enumerate()), _descriptors()
    world = World(tmp_path, region)
    yield world
    for peer in world.peers:
        peer.close()
    # Whatever a test did: no thread and no descriptor outlives close().
    assert [thread.name for thread in set(threading.enumerate()) - threads if thread.name.startswith("swarm-")] == []
    assert [path for path in _descriptors() - descriptors if str(tmp_path) in path and "bucket" not in path] == []


def _descriptors() -> set[str]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except FileNotFoundError:
            continue
    return found


def write_tree(directory: Path, size: int, seed: int) -> Path:
    """Files of many shapes: large, small, empty, executable, in directories, a link, and one chunk that repeats."""
    random = Random(seed)
    (directory / "lib" / "deep").mkdir(parents=True)
    (directory / "empty-directory").mkdir()
    (directory / "a-large").write_bytes(random.randbytes(size))
    (directory / "lib" / "empty").write_bytes(b"")
    for number in range(20):
        (directory / "lib" / "deep" / f"small-{number}").write_bytes(random.randbytes(100 + number))
    (directory / "run").write_bytes(b"#!/bin/sh\nexit 0\n")
    (directory / "run").chmod(0o755)
    (directory / "link").symlink_to("lib/deep")
    (directory / "zeros").write_bytes(bytes(5_000_000))
    return directory


def describe(source: Path) -> dict[str, object]:
    """Paths to contents and executable bits, link targets, or ``None`` for a directory. Of a file: as if alone in one."""
    if source.is_file():
        return {source.name: (bool(source.stat().st_mode & 0o100), source.read_bytes())}
    described: dict[str, object] = {}
    for path in sorted(source.rglob("*")):
        name = str(path.relative_to(source))
        if path.is_symlink():
            described[name] = str(path.readlink())
        elif path.is_dir():
            described[name] = None
        else:
            described[name] = (bool(path.stat().st_mode & 0o100), path.read_bytes())
    return described
