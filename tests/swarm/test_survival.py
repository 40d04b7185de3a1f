"""Peers that lie, disks that rot, processes that die, strangers at the door."""

from __future__ import annotations

import errno
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fleetcast.artifacts.tree_files import TreeFiles
from fleetcast.model.errors import Unavailable
from fleetcast.model.ids import Digest, MachineId
from fleetcast.model.messages.agents import AnnounceRequest, PeerAddress
from fleetcast.swarm import codec, download
from fleetcast.swarm.bitmap import pack, unpack
from fleetcast.swarm.wire import Wire


def test_a_fetch_that_was_cut_off_goes_on_with_what_is_on_disk(world: Any) -> None:
    artifact = world.artifact(size=8_000_000)
    count = artifact.pieces.count
    world.region.allowed = {MachineId("m"): count // 2}
    first = world.fetch(world.peer("m"), artifact, "incoming")
    world.until(lambda: f"{count - count // 2} of" in first.progress().waiting_for)
    before = first.progress().bytes
    # The directory as it is in mid-flight, which is what SIGKILL leaves; one file is damaged, the last record is torn.
    shutil.copytree(world.directory / "incoming", world.directory / "again", symlinks=True)
    first.cancel()
    with open(world.directory / "again" / "journal", "ab") as journal:
        journal.write(b"\x01\x02\x03")
    leased = len(world.region.leased)

    world.region.allowed = {}
    second = world.fetch(world.peer("m2"), artifact, "again")
    world.assert_complete(second, artifact, "again")
    assert before.origin > 0
    assert second.progress().bytes.origin == before.origin + sum(
        artifact.pieces.payload(piece)[0] for piece in world.region.leased[leased:]
    )
    assert set(world.region.leased[:leased]).isdisjoint(world.region.leased[leased:])


def test_what_rotted_on_disk_is_fetched_again_and_counted_once(world: Any) -> None:
    artifact = world.artifact()
    world.partial(artifact, "incoming", lambda _: True)
    with open(world.directory / "incoming" / "tree" / "a-large", "r+b") as file:
        file.seek(1_234_567)
        file.write(b"rot")
    fetch = world.fetch(world.peer("m"), artifact, "incoming")
    world.assert_complete(fetch, artifact, "incoming")
    assert len(world.region.leased) == 1


def test_a_fetch_that_was_sealed_and_not_moved_is_found_complete(world: Any) -> None:
    artifact = world.artifact()
    peer = world.peer("m")
    first = world.fetch(peer, artifact, "incoming")
    world.assert_complete(first, artifact, "incoming")
    counts = first.progress().bytes
    first.cancel()
    world.region.origin_away = True
    second = world.fetch(peer, artifact, "incoming")
    world.assert_complete(second, artifact, "incoming")
    assert second.progress().bytes == counts


def test_what_the_disk_cannot_read_comes_from_the_swarm(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = world.artifact()
    world.partial(artifact, "incoming", lambda _: True)
    read_into, bad = TreeFiles.read_into, artifact.pieces.offset_in_blob(artifact.pieces.count // 2)

    def failing(files: TreeFiles, offset: int, buffer: memoryview) -> None:
        if offset == bad:
            raise OSError(errno.EIO, "Input/output error")
        read_into(files, offset, buffer)

    monkeypatch.setattr(TreeFiles, "read_into", failing)
    fetch = world.fetch(world.peer("m"), artifact, "incoming")
    assert fetch.wait(30), fetch.progress()
    assert len(world.region.leased) == 1


def test_a_peer_out_of_threads_serves_again_when_there_are_some(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = world.artifact()
    holder = world.peer("holder")
    holder.share(artifact.root, artifact.root_digest, world.release(artifact, "release"))
    hello = codec.Hello(artifact.root.digest, MachineId("x"), world.ticket(artifact, "x"))
    start = threading.Thread.start

    def failing(thread: threading.Thread) -> None:
        if thread.name.startswith("swarm-upload"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", failing)
        with pytest.raises(Unavailable):
            _knock(holder.port, hello, 1)
    assert isinstance(_knock(holder.port, hello, 1)[0], codec.Hello)


@contextmanager
def _server(world: Any, artifact: Any, name: str, serve: Any, claims_from: int = 0) -> Iterator[None]:
    """A peer of our own making: greets, claims to have everything from a piece on, and leaves the rest to
    ``serve(wire, frame)``.
    """
    count = artifact.pieces.count
    listener = socket.create_server(("127.0.0.1", 0))
    wires: list[Wire] = []

    def talk(wire: Wire) -> None:
        try:
            wire.patience(30)
            hello = wire.receive()
            assert isinstance(hello, codec.Hello)
            everything = codec.Bitmap(count, pack(bytes(claims_from) + bytes([1]) * (count - claims_from)))
            wire.send(codec.Hello(artifact.root.digest, MachineId(name)), everything)
            while True:
                serve(wire, wire.receive())
        except Exception:
            wire.close()

    def accept() -> None:
        while True:
            try:
                wires.append(Wire(listener.accept()[0]))
            except OSError:
                return
            threading.Thread(target=talk, args=(wires[-1],), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    address = PeerAddress(MachineId(name), "127.0.0.1", listener.getsockname()[1])
    world.region.announce(artifact.root.digest, AnnounceRequest(address, artifact.root_digest, True, 0))
    yield
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for wire in wires:
        wire.abort()


def test_a_peer_that_sends_wrong_bytes_is_named_and_dropped(world: Any) -> None:
    artifact = world.artifact()
    chunks: list[int] = []
    byes: list[codec.Frame] = []

    def lie(wire: Wire, frame: codec.Frame) -> None:
        if isinstance(frame, codec.Request):
            for piece in frame.pieces:
                chunks.append(piece)
                wire.send(codec.Chunk(piece, artifact.pieces.length(piece)))
                wire.socket.sendall(bytes([7]) * artifact.pieces.length(piece))
        else:
            byes.append(frame)

    world.region.origin_away = True
    with _server(world, artifact, "liar", lie):
        peer = world.peer("m")
        fetch = world.fetch(peer, artifact, "out")
        world.until(lambda: bool(peer.alarms()) and bool(byes))
        world.region.origin_away = False
        world.assert_complete(fetch, artifact, "out")
    assert len(peer.alarms()) == 1
    assert "liar sent wrong bytes" in peer.alarms()[0]
    assert isinstance(byes[0], codec.Bye)
    assert byes[0].piece == chunks[0], "it is told which piece was wrong"
    assert fetch.progress().bytes.peer == 0


def test_a_peer_that_announces_what_it_has_not_is_left(world: Any) -> None:
    artifact = world.artifact()
    asked: list[int] = []

    def decline(wire: Wire, frame: codec.Frame) -> None:
        match frame:
            case codec.Request(pieces):
                asked.extend(pieces)
                wire.send(*(codec.Refused("not_held", piece) for piece in pieces))
            case codec.Wait():
                wire.send(codec.Have(()))

    world.region.origin_away = True
    with _server(world, artifact, "boaster", decline):
        fetch = world.fetch(world.peer("m"), artifact, "out")
        world.until(lambda: bool(asked))
        world.region.origin_away = False
        world.assert_complete(fetch, artifact, "out")


def test_a_peer_that_stalls_is_worked_around(world: Any) -> None:
    artifact = world.artifact()
    world.region.origin_away = True
    owed: list[int] = []

    def stall(wire: Wire, frame: codec.Frame) -> None:
        if isinstance(frame, codec.Request):
            owed.extend(frame.pieces)

    with _server(world, artifact, "sleeper", stall):
        fetch = world.fetch(world.peer("m"), artifact, "out")
        world.until(lambda: bool(owed))
        world.peer("good").share(artifact.root, artifact.root_digest, world.release(artifact, "release"))
        world.assert_complete(fetch, artifact, "out")


def _never(wire: Wire, frame: codec.Frame) -> None:
    """Answers nothing."""


def _trickle(wire: Wire, frame: codec.Frame) -> None:
    if isinstance(frame, codec.Request):
        wire.socket.sendall(codec.encode(codec.Chunk(frame.pieces[0], 100_000)))
        pause = threading.Event()
        while not pause.wait(0.1):
            wire.socket.sendall(b"x")


@pytest.mark.parametrize("lies", ["everything", "content"])
def test_silent_peers_that_claim_pieces_do_not_keep_the_origin_away(world: Any, lies: str) -> None:
    artifact = world.artifact()
    claims_from = artifact.pieces.manifest_count if lies == "content" else 0
    with ExitStack() as stack:
        for name in ("s1", "s2", "s3"):
            stack.enter_context(_server(world, artifact, name, _never, claims_from))
        begun = time.monotonic()
        fetch = world.fetch(world.peer("m"), artifact, "out")
        world.assert_complete(fetch, artifact, "out")
        assert time.monotonic() - begun < 10
    assert fetch.progress().bytes.peer == 0
    assert sorted(world.region.leased) == list(range(artifact.pieces.count))


def test_peers_that_never_greet_do_not_keep_the_origin_away(world: Any) -> None:
    artifact = world.artifact()
    with ExitStack() as stack:
        for number in range(3):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            address = PeerAddress(MachineId(f"s{number}"), "127.0.0.1", listener.getsockname()[1])
            world.region.announce(artifact.root.digest, AnnounceRequest(address, artifact.root_digest, True, 0))
        begun = time.monotonic()
        world.assert_complete(world.fetch(world.peer("m"), artifact, "out"), artifact, "out")
        assert time.monotonic() - begun < 10


def test_a_peer_that_trickles_does_not_keep_the_origin_away(world: Any) -> None:
    artifact = world.artifact_of(_random_file(world, 100_000))
    with _server(world, artifact, "trickler", _trickle, artifact.pieces.manifest_count):
        begun = time.monotonic()
        world.assert_complete(world.fetch(world.peer("m"), artifact, "out"), artifact, "out")
        assert time.monotonic() - begun < 10


def test_a_peer_that_trickles_is_named_and_dropped(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SWARM_PIECE_S_MAX", 1.0)
    artifact = world.artifact_of(_random_file(world, 100_000))
    world.region.allowed = {MachineId("m"): artifact.pieces.manifest_count}
    with _server(world, artifact, "trickler", _trickle, artifact.pieces.manifest_count):
        peer = world.peer("m")
        fetch = world.fetch(peer, artifact, "out")
        world.until(lambda: bool(peer.alarms()))
        world.region.allowed = {}
        world.assert_complete(fetch, artifact, "out")
    assert "trickler kept us waiting too long" in peer.alarms()[0]


def _random_file(world: Any, size: int) -> Path:
    """One chunk of known length."""
    source: Path = world.directory / "source"
    source.mkdir()
    (source / "file").write_bytes(Random(5).randbytes(size))
    return source


def test_a_sender_told_of_a_bad_chunk_looks_at_its_disk(world: Any) -> None:
    artifact = world.artifact()
    release = world.release(artifact, "release")
    with open(release / "tree" / "a-large", "r+b") as file:
        file.seek(500_000)
        file.write(b"rot")
    rotten = world.peer("rotten")
    rotten.share(artifact.root, artifact.root_digest, release)
    peer = world.peer("m")
    world.region.origin_away = True
    fetch = world.fetch(peer, artifact, "out")
    world.until(lambda: bool(peer.alarms()))
    world.until(lambda: _bitmap(world, artifact, rotten.port).count(0) == 1)
    world.region.origin_away = False
    world.assert_complete(fetch, artifact, "out")


def _bitmap(world: Any, artifact: Any, port: int) -> bytearray:
    frames = _knock(port, codec.Hello(artifact.root.digest, MachineId("x"), world.ticket(artifact, "x")), 2)
    assert isinstance(frames[1], codec.Bitmap)
    return unpack(frames[1].bits, frames[1].count)


def _knock(port: int, hello: codec.Frame, answers: int) -> list[codec.Frame]:
    wire = Wire(socket.socket())
    try:
        wire.connect("127.0.0.1", port)
        wire.send(hello)
        return [wire.receive() for _ in range(answers)]
    finally:
        wire.close()


@pytest.mark.parametrize(
    "fault", ["none", "stranger", "expired", "other machine", "other artifact", "nonsense", "no key", "old"]
)
def test_only_a_good_ticket_opens_the_door(world: Any, fault: str) -> None:
    artifact = world.artifact()
    peer = world.peer("holder")
    peer.share(artifact.root, artifact.root_digest, world.release(artifact, "release"))
    good = world.ticket(artifact, "x")
    hello, code = {
        "none": (codec.Hello(artifact.root.digest, MachineId("x"), good), ""),
        "stranger": (
            codec.Hello(artifact.root.digest, MachineId("x"), world.ticket(artifact, "x", Ed25519PrivateKey.generate())),
            "bad_ticket",
        ),
        "expired": (
            codec.Hello(artifact.root.digest, MachineId("x"), world.ticket(artifact, "x", lifetime_s=-1)),
            "ticket_expired",
        ),
        "other machine": (codec.Hello(artifact.root.digest, MachineId("y"), good), "bad_ticket"),
        "other artifact": (codec.Hello(Digest("0" * 64), MachineId("x"), good), "bad_ticket"),
        "nonsense": (codec.Hello(artifact.root.digest, MachineId("x"), "1.é.\ud800.3.4"), "bad_ticket"),
        "no key": (codec.Hello(artifact.root.digest, MachineId("x"), good), "no_ticket_key"),
        "old": (codec.Hello(artifact.root.digest, MachineId("x"), good, protocol=9), "incompatible_protocol"),
    }[fault]
    if fault == "no key":
        peer = world.peer("new", trusting=False)
    answer = _knock(peer.port, hello, 1)[0]
    assert isinstance(answer, codec.Refused) if code else isinstance(answer, codec.Hello)
    assert not code or answer.code == code


def test_close_ends_connections_that_never_say_anything(world: Any) -> None:
    artifact = world.artifact()
    peer = world.peer("holder")
    peer.share(artifact.root, artifact.root_digest, world.release(artifact, "release"))
    silent = [socket.create_connection(("127.0.0.1", peer.port)) for _ in range(5)]
    greeted = Wire(socket.socket())
    greeted.connect("127.0.0.1", peer.port)
    greeted.send(codec.Hello(artifact.root.digest, MachineId("x"), world.ticket(artifact, "x")))
    assert isinstance(greeted.receive(), codec.Hello)
    begun = time.monotonic()
    peer.close()
    assert time.monotonic() - begun < 2
    for sock in silent:
        assert sock.recv(1) == b""
        sock.close()
    greeted.close()
