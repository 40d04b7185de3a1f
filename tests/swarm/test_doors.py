"""Strangers at a peer's door: who has a ticket gets in, however many others stand there."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from fleetcast.model.errors import Corrupt
from fleetcast.model.ids import Digest, MachineId
from fleetcast.model.limits import SWARM_HAVE_PIECES_MAX
from fleetcast.swarm import codec, server
from wires import dialled


def test_strangers_who_say_nothing_keep_nobody_out(world: Any) -> None:
    artifact = world.artifact()
    peer = world.peer("holder")
    peer.share(artifact.root, artifact.root_digest, world.release(artifact, "release"))
    with ExitStack() as stack:
        for index in range(5):
            welcome = stack.enter_context(dialled(peer.port))
            welcome.send(codec.Hello(artifact.root.digest, MachineId(f"m{index}"), world.ticket(artifact, f"m{index}")))
            assert isinstance(welcome.receive(), codec.Hello)
        for _ in range(server.CONNECTIONS_MAX + 10):
            stack.enter_context(socket.create_connection(("127.0.0.1", peer.port)))
        wire = stack.enter_context(dialled(peer.port))
        wire.send(codec.Hello(artifact.root.digest, MachineId("x"), world.ticket(artifact, "x")))
        assert isinstance(wire.receive(), codec.Hello)
        assert isinstance(welcome.receive(), codec.Bitmap)
        welcome.send(codec.Wait())
        assert isinstance(welcome.receive(), codec.Have)


def test_a_hello_that_trickles_is_not_waited_for(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SWARM_CONNECT_S_MAX", 0.3)
    peer = world.peer("holder")
    hello = codec.encode(codec.Hello(Digest("a" * 64), MachineId("m"), "1." * 1000))
    with socket.create_connection(("127.0.0.1", peer.port), timeout=0.05) as sock:
        deadline = time.monotonic() + 5
        ended = False
        for each in hello:
            if ended or time.monotonic() > deadline:
                break
            try:
                sock.sendall(bytes([each]))
                ended = not sock.recv(1)
            except TimeoutError:
                continue
            except OSError:
                ended = True
    assert ended


@pytest.mark.parametrize("ranges", [((0, SWARM_HAVE_PIECES_MAX + 1),), ((0, 4000),) * 2, ((5, 4), (0, 1))])
def test_news_that_would_take_long_to_note_are_refused(ranges: Any) -> None:
    data = codec.encode(codec.Have(ranges))
    with pytest.raises(Corrupt):
        codec.decode(codec.decode_header(data[: codec.HEADER_BYTES]), data[codec.HEADER_BYTES :])


def test_a_ticket_that_has_expired_is_refused_and_replaced(world: Any) -> None:
    """By a real peer: it is turned away, says so in one line, and gets in with the ticket of its next announcement."""
    artifact = world.artifact()
    holder = world.peer("holder")
    holder.share(artifact.root, artifact.root_digest, world.release(artifact, "release"))
    world.region.origin_away = True
    world.region.ticket_s = -1
    with capture_logs() as logs:
        fetch = world.fetch(world.peer("late"), artifact, "out")
        world.until(lambda: any(line.get("reason") == "holder refused: ticket_expired" for line in logs))
        world.region.ticket_s = 3600
        world.assert_complete(fetch, artifact, "out")
    assert fetch.progress().bytes.origin == 0
