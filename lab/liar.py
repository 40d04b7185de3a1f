"""A member of a swarm that misbehaves: ``python -m lab.liar``, an :class:`Order` as JSON in its only argument, until SIGTERM.

It joins with a real ticket, says that it has everything, speaks the real wire, and does one thing wrong. What happens is told
as JSON lines on its output: ``{"event": "asked", "by": "host-1", "connection": 3, "pieces": [7, 9]}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from contextlib import aclosing
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from fleetcast.agent.region import RegionClient
from fleetcast.artifacts.manifest import decode
from fleetcast.artifacts.signing import unverified_root
from fleetcast.http import tokens
from fleetcast.http.session import Session
from fleetcast.model.artifact import Root
from fleetcast.model.errors import Unavailable
from fleetcast.model.ids import Digest, MachineId
from fleetcast.model.messages.agents import AnnounceRequest, PeerAddress
from fleetcast.swarm import codec
from fleetcast.swarm.bitmap import pack
from fleetcast.swarm.pieces import PieceMap
from lab.host import Host

ANNOUNCE_S: Final = 1.0
NEWS_S: Final = 0.25
"""How long it keeps those waiting who ask for news: there is none."""


class Manner(StrEnum):
    """What it does with whoever asks it for pieces."""

    LIE = "lie"
    """Sends one piece with other bytes, then waits for what the other side says of it."""
    STALL = "stall"
    """Sends the beginning of a piece, and nothing more."""
    CLOSE = "close"
    """Sends the beginning of a piece, and closes."""
    BOAST = "boast"
    """Has not, piece for piece, what it said it has."""


@dataclass(frozen=True)
class Order:
    manner: Manner
    machine: str
    host: str
    """Where it listens."""
    region_url: str
    token_file: str
    """Of an agent."""
    root: str
    """Digest of the signed root whose swarm it joins."""
    manifest: str
    """That artifact's, a file."""
    zone: str = ""
    rack: str = ""

    def command(self, host: Host) -> list[str]:
        """To run on a host, in the repository."""
        return host.command([sys.executable, "-m", "lab.liar", json.dumps(asdict(self))])


async def run(order: Order) -> None:
    """Until cancelled."""
    async with aclosing(Session(order.region_url, tokens.load(Path(order.token_file)))) as session:
        region = RegionClient(session)
        root = unverified_root(await region.root(Digest(order.root)))
        liar = Liar(order, root)
        server = await asyncio.start_server(liar.serve, order.host, 0)
        port = int(server.sockets[0].getsockname()[1])
        me = PeerAddress(MachineId(order.machine), order.host, port, order.zone, order.rack)
        for turn in itertools.count():
            with contextlib.suppress(Unavailable):  # the region may be what a test takes away
                await region.announce(root.digest, AnnounceRequest(me, Digest(order.root), complete=True, want=0))
            if not turn:
                _tell("joined")
            await asyncio.sleep(ANNOUNCE_S)


class Liar:
    """Serves whoever dials, in its manner."""

    def __init__(self, order: Order, root: Root) -> None:
        self._me = MachineId(order.machine)
        self._manner = order.manner
        self._digest = root.digest
        self._pieces = PieceMap(root, decode(Path(order.manifest).read_bytes()))
        self._numbers = itertools.count(1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        wire = _Wire(reader, writer, next(self._numbers))
        try:
            hello = await wire.receive()
            assert isinstance(hello, codec.Hello)
            wire.machine = hello.machine
            wire.tell("greeted")
            everything = codec.Bitmap(self._pieces.count, pack(bytes([1]) * self._pieces.count))
            wire.send(codec.Hello(self._digest, self._me), everything)
            await self._converse(wire)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side has had enough
        finally:
            if wire.machine:
                wire.tell("ended")
            writer.close()

    async def _converse(self, wire: _Wire) -> None:
        while True:
            match await wire.receive():
                case codec.Request(pieces):
                    wire.tell("asked", pieces=pieces)
                    if self._manner is not Manner.BOAST:
                        await self._misbehave(wire, pieces[0], self._pieces.length(pieces[0]))
                        return
                    wire.send(*(codec.Refused("not_held", piece) for piece in pieces))
                case codec.Wait():
                    asyncio.get_running_loop().call_later(NEWS_S, wire.send, codec.Have(()))

    async def _misbehave(self, wire: _Wire, piece: int, length: int) -> None:
        wire.send(codec.Chunk(piece, length))
        if self._manner is Manner.LIE:
            wire.writer.write(bytes([7]) * length)
            # More requests may have been on their way; then comes what the other side says of the piece.
            while isinstance(said := await wire.receive(), codec.Request | codec.Wait):
                pass
            wire.tell("answered", piece=piece, said=[said.code, said.piece] if isinstance(said, codec.Bye) else [str(said), 0])
            return
        wire.writer.write(bytes(length // 2))
        if self._manner is Manner.STALL:
            while await wire.reader.read(codec.HEADER_BYTES):
                pass


@dataclass
class _Wire:
    """A connection to whoever dialled: a machine, once it has said which."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    machine: str = ""

    async def receive(self) -> codec.Frame:
        header = codec.decode_header(await self.reader.readexactly(codec.HEADER_BYTES))
        return codec.decode(header, await self.reader.readexactly(header.body_bytes))

    def send(self, *frames: codec.Frame) -> None:
        self.writer.write(b"".join(codec.encode(frame) for frame in frames))

    def tell(self, event: str, **what: object) -> None:
        _tell(event, by=self.machine, connection=self.number, **what)


def _tell(event: str, **what: object) -> None:
    print(json.dumps({"event": event, **what}), flush=True)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    asyncio.run(run(Order(**{**asked, "manner": Manner(asked["manner"])})))
