"""What a peer tells without being asked each time: news, once it owes nothing more."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from fleetcast.model.errors import Unavailable
from fleetcast.model.ids import MachineId
from fleetcast.model.messages.agents import AnnounceRequest, PeerAddress
from fleetcast.swarm import codec, teller
from fleetcast.swarm.bitmap import pack
from fleetcast.swarm.wire import Wire
from wires import dialled


def test_after_the_last_piece_of_a_request_news_come_unasked(world: Any) -> None:
    artifact = world.artifact()
    peer = world.peer("holder")
    peer.share(artifact.root, artifact.root_digest, world.release(artifact, "release"))
    with dialled(peer.port) as wire:
        wire.patience(30)
        wire.send(codec.Hello(artifact.root.digest, MachineId("x"), world.ticket(artifact, "x")))
        hello = wire.receive()
        assert isinstance(hello, codec.Hello)
        assert hello.waits, "it says that nobody need ask it for news after a piece"
        assert isinstance(wire.receive(), codec.Bitmap)
        wire.send(codec.Request((0, 1)))
        for piece in (0, 1):
            frame = wire.receive()
            while isinstance(frame, codec.Have):
                frame = wire.receive()
            assert isinstance(frame, codec.Chunk)
            assert frame.piece == piece
            wire.receive_into(memoryview(bytearray(frame.length)))
        assert isinstance(wire.receive(), codec.Have), "here: that there is nothing new, after a while"


@pytest.mark.parametrize("waits", [0, 1])
def test_who_has_a_piece_asks_for_news_once_and_only_where_that_is_needed(world: Any, waits: int) -> None:
    artifact = world.artifact()
    world.region.origin_away = True
    said: list[codec.Frame] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        wire = Wire(listener.accept()[0])
        try:
            wire.patience(30)
            assert isinstance(wire.receive(), codec.Hello)
            flags = bytes([1]) + bytes(artifact.pieces.count - 1)
            wire.send(codec.Hello(artifact.root.digest, MachineId("one"), waits=waits), codec.Bitmap(len(flags), pack(flags)))
            assert wire.receive() == codec.Request((0,))
            with wire.sending:
                wire.send_held(codec.Chunk(0, artifact.pieces.length(0)))
                wire.socket.sendall(artifact.manifest)
            if waits:
                wire.send(codec.Have(()))
            said.append(wire.receive())
            wire.send(codec.Refused("busy"))
            while True:
                said.append(wire.receive())
        except Unavailable:
            wire.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    address = PeerAddress(MachineId("one"), "127.0.0.1", listener.getsockname()[1])
    world.region.announce(artifact.root.digest, AnnounceRequest(address, artifact.root_digest, True, 0))
    fetch = world.fetch(world.peer("m"), artifact, "out")
    thread.join(60)
    listener.close()
    assert said == [codec.Wait()]
    world.region.origin_away = False
    world.assert_complete(fetch, artifact, "out")


class Told:
    """A listener whose first telling takes until it may end."""

    def __init__(self) -> None:
        self.begun, self.may_end, self.again = threading.Event(), threading.Event(), threading.Event()

    def tell(self, *, anything: bool) -> None:
        if self.begun.is_set():
            self.again.set()
        self.begun.set()
        assert self.may_end.wait(60)


def test_news_that_come_while_others_are_told_are_told_right_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teller, "_HELD_S", 3600.0)  # nobody is told just because a while went by
    told, all_news = Told(), teller.Teller()
    all_news.start()
    all_news.listen(told)
    first = threading.Thread(target=all_news.poke)
    first.start()
    assert told.begun.wait(60)
    all_news.poke()
    told.may_end.set()
    assert told.again.wait(60)
    first.join(60)
    all_news.close()
