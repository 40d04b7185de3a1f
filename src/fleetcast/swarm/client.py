"""One neighbour that we fetch from: a thread that asks, receives, verifies and writes until there is nothing left to get."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from random import Random

import structlog

from fleetcast.model import protocol
from fleetcast.model.errors import Corrupt, FleetcastError, Incompatible, Refused, Unavailable
from fleetcast.model.limits import (
    CHUNK_BYTES_MAX,
    SWARM_CONNECT_S_MAX,
    SWARM_LACKS_MAX,
    SWARM_PIECE_S_MAX,
    SWARM_PROGRESS_BYTES,
    SWARM_STALL_S_MAX,
)
from fleetcast.model.messages.agents import PeerAddress
from fleetcast.swarm import codec
from fleetcast.swarm.bitmap import ranges_of, unpack
from fleetcast.swarm.intake import Intake
from fleetcast.swarm.journal import Source
from fleetcast.swarm.neighbours import Neighbourhood
from fleetcast.swarm.wire import Wire

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class End:
    """How a neighbour's thread ended."""

    failed: bool
    reason: str = ""
    lied: bool = False
    """It sent wrong bytes or nonsense: have no more to do with it."""
    dropped: bool = False
    """It kept us waiting for too long."""
    incompatible: bool = False
    """It speaks a protocol too far from ours."""


class Neighbour:
    """Used by its thread; :meth:`abort` and :meth:`drop` by any."""

    def __init__(self, address: PeerAddress, hello: codec.Hello, intake: Intake, around: Neighbourhood, rng: Random) -> None:
        """``around`` and ``rng`` are guarded by the holding's lock."""
        self.address = address
        self._hello = hello
        self._intake = intake
        self._holding = intake.holding
        self._around = around
        self._rng = rng
        self._machine = address.machine
        self._lacks = 0
        self._dropped = False
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._wire = Wire(socket.socket(family, socket.SOCK_STREAM))

    def abort(self) -> None:
        self._wire.abort()

    def drop(self) -> None:
        """Like :meth:`abort`, because it kept us waiting for too long."""
        self._dropped = True
        self._wire.abort()

    def run(self) -> End:
        """Fetch until the download is complete, :meth:`abort`, or something goes wrong."""
        joined = False
        try:
            bitmap = self._greet()
            with self._holding.lock:
                self._holding.download.join(self._machine)
                joined = True
                self._holding.download.hear(self._machine, bitmap)
                self._around.greeted(self._machine)
                self._holding.turn.notify_all()
            self._fetch()
            return End(failed=False)
        except Corrupt as error:
            return End(failed=True, reason=error.message, lied=True)
        except Incompatible as error:
            return End(failed=True, reason=error.message, incompatible=True)
        except (FleetcastError, OSError, ValueError) as error:
            if self._dropped or (joined and isinstance(error, FleetcastError) and error.code == "peer_stalled"):
                return End(failed=True, reason=f"{self._machine} kept us waiting too long for a piece", dropped=True)
            return End(failed=not self._wire.aborted, reason=str(error))
        finally:
            if joined:
                with self._holding.lock:
                    self._holding.download.leave(self._machine)
                    self._holding.turn.notify_all()
            self._wire.close()

    def _greet(self) -> tuple[tuple[int, int], ...]:
        """Connect and exchange hellos; returns what the neighbour has."""
        self._wire.connect(self.address.host, self.address.port)
        self._wire.send(self._hello)
        deadline = time.monotonic() + SWARM_CONNECT_S_MAX
        hello = self._wire.receive(deadline)
        if isinstance(hello, codec.Refused):
            if hello.protocol:
                protocol.check(hello.protocol, self._machine, "this agent")
            raise Unavailable("peer_refused", f"{self._machine} refused: {hello.code}")
        bitmap = self._wire.receive(deadline)
        if not isinstance(hello, codec.Hello) or not isinstance(bitmap, codec.Bitmap):
            raise _nonsense(self._machine)
        protocol.check(hello.protocol, self._machine, "this agent")
        if hello.machine != self._machine or hello.digest != self._hello.digest:
            # Its port has gone to another peer; no lie.
            raise Unavailable("wrong_peer", f"{hello.machine} answered in place of {self._machine}")
        if bitmap.count > self._holding.download.capacity:
            raise _nonsense(self._machine)
        self._wire.patience(SWARM_STALL_S_MAX)
        return ranges_of(piece for piece, has in enumerate(unpack(bitmap.bits, bitmap.count)) if has)

    def _fetch(self) -> None:
        buffer = memoryview(bytearray(CHUNK_BYTES_MAX))
        download = self._holding.download
        waiting = False
        while not self._wire.aborted:
            with self._holding.lock:
                pieces = download.request(self._machine, time.monotonic(), self._rng)
                owing = download.owes_any(self._machine)
            if pieces:
                self._wire.send(codec.Request(pieces))
            elif not owing and not waiting:
                waiting = True
                self._wire.send(codec.Wait())
                with self._holding.lock:
                    download.ask_news(self._machine, time.monotonic())
            frame = self._wire.receive()
            waiting = waiting and not isinstance(frame, codec.Have)
            self._take(frame, buffer)
        self._wire.send(codec.Bye())

    def _take(self, frame: codec.Frame, buffer: memoryview) -> None:
        match frame:
            case codec.Chunk(piece, length):
                self._take_chunk(piece, buffer[:length])
            case codec.Have(ranges):
                with self._holding.lock:
                    self._holding.download.hear(self._machine, ranges)
                    self._holding.download.told(self._machine)
            case codec.Refused(_, piece):
                self._take_refusal(frame, piece)
            case _:
                raise _nonsense(self._machine)

    def _take_chunk(self, piece: int, data: memoryview) -> None:
        with self._holding.lock:
            owed = self._holding.download.owed(self._machine, piece)
        if not owed or len(data) != self._holding.files.map.length(piece):
            raise _nonsense(self._machine)
        self._receive_piece(data)
        if not self._intake.offer(piece, data, self._machine, Source.PEER):
            self._wire.send(codec.Bye("wrong_bytes", piece))
            self._wire.drain(data)
            raise Corrupt("wrong_bytes", f"{self._machine} sent wrong bytes for piece {piece}")
        with self._holding.lock:
            now = time.monotonic()
            self._holding.download.paid(self._machine, now)
            self._around.useful(self._machine, now)

    def _receive_piece(self, data: memoryview) -> None:
        deadline = time.monotonic() + SWARM_PIECE_S_MAX
        for at in range(0, len(data), SWARM_PROGRESS_BYTES):
            if at:
                with self._holding.lock:
                    self._holding.download.arriving(self._machine, at)
            self._wire.receive_into(data[at : at + SWARM_PROGRESS_BYTES], deadline)

    def _take_refusal(self, frame: codec.Refused, piece: int) -> None:
        if piece == codec.NO_PIECE:
            raise Unavailable("peer_refused", f"{self._machine} refused: {frame.code}")
        self._lacks += 1
        if self._lacks > SWARM_LACKS_MAX:
            raise Refused("peer_lacks", f"{self._machine} announces pieces that it does not have")
        with self._holding.lock:
            self._holding.download.lacks(self._machine, piece)


def _nonsense(machine: str) -> Corrupt:
    return Corrupt("bad_frame", f"{machine} sent something that makes no sense here")
