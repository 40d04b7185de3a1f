"""One neighbour that we fetch from: a thread that asks, receives, verifies and writes until there is nothing left to get."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

import structlog

from fleetcast.model import protocol
from fleetcast.model.errors import Corrupt, FleetcastError, Incompatible, Refused, Unavailable
from fleetcast.model.limits import (
    SWARM_CONNECT_S_MAX,
    SWARM_LACKS_MAX,
    SWARM_PIECE_S_MAX,
    SWARM_STALL_S_MAX,
)
from fleetcast.model.messages.agents import PeerAddress
from fleetcast.stores.marking import mark_background
from fleetcast.swarm import codec
from fleetcast.swarm.asking import Asking
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

    def __init__(self, address: PeerAddress, hello: codec.Hello, intake: Intake, around: Neighbourhood, asking: Asking) -> None:
        """``around`` is guarded by the holding's lock."""
        self.address = address
        self._hello = hello
        self._intake = intake
        self._holding = intake.holding
        self._around = around
        self._asking = asking
        self._near = around.near(address)
        self._machine = address.machine
        self._lacks = 0
        self._waits = False
        """It tells what is new unasked, once it owes nothing."""
        self._dropped = False
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        if intake.bandwidth.background:
            mark_background(sock)
        self._wire = Wire(sock)

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
            has = self._greet()
            joined = True
            self._asking.join(self._machine, self._wire, has, near=self._near)
            with self._holding.lock:
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
            self._asking.leave(self._machine)
            with self._holding.lock:
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
        self._waits = bool(hello.waits)
        self._wire.patience(SWARM_STALL_S_MAX)
        return ranges_of(piece for piece, has in enumerate(unpack(bitmap.bits, bitmap.count)) if has)

    def _fetch(self) -> None:
        download = self._holding.download
        waiting = served = False
        news = True
        while not self._wire.aborted:
            if news:
                self._asking.go_on()
            if not waiting and not download.owes_any(self._machine):
                # Others may ask it for something meanwhile: then it answers both.
                waiting = True
                with self._holding.lock:
                    download.ask_news(self._machine, time.monotonic())
                if not (served and self._waits):
                    self._wire.send(codec.Wait())
            frame = self._wire.receive()
            served = not isinstance(frame, codec.Have | codec.Coming)
            waiting = waiting and not isinstance(frame, codec.Have)
            news = self._take(frame)
        self._wire.send(codec.Bye())

    def _take(self, frame: codec.Frame) -> bool:
        """Whether there may be something to ask for that there was not before."""
        match frame:
            case codec.Chunk(piece, length, load):
                self._take_chunk(piece, length, load)
                return True
            case codec.Have(ranges, load, in_line, askers):
                download = self._holding.download
                with self._holding.lock:
                    if in_line:
                        download.in_line(self._machine, time.monotonic())
                    download.hear_load(self._machine, load)
                    download.hear_askers(self._machine, askers)
                    download.told(self._machine)
                    return download.hear(self._machine, ranges)
            case codec.Coming(ranges):
                with self._holding.lock:
                    self._holding.download.hear_coming(self._machine, ranges, time.monotonic())
                return False
            case codec.Refused(_, piece):
                self._take_refusal(frame, piece)
                return True
            case _:
                raise _nonsense(self._machine)

    def _take_chunk(self, piece: int, length: int, load: int) -> None:
        # Without the lock: only this thread ends a debt, and a number is looked up in one step.
        if not self._holding.download.owed(self._machine, piece) or length != self._holding.files.map.length(piece):
            raise _nonsense(self._machine)
        with self._intake.buffers.borrow() as buffer:
            data = buffer[:length]
            self._wire.receive_into(data, time.monotonic() + SWARM_PIECE_S_MAX, self._progress)
            if not self._intake.offer(piece, data, self._machine, Source.PEER):
                self._wire.send(codec.Bye("wrong_bytes", piece))
                self._wire.drain(data)
                raise Corrupt("wrong_bytes", f"{self._machine} sent wrong bytes for piece {piece}")
        self._intake.bandwidth.down.pay(self._holding.digest, length, self._still)
        with self._holding.lock:
            now = time.monotonic()
            self._holding.download.paid(self._machine, now)
            self._holding.download.hear_load(self._machine, load)
            self._around.useful(self._machine, now)

    def _still(self) -> bool:
        """While our own limit keeps us, the neighbour is not to blame for giving nothing."""
        with self._holding.lock:
            self._around.useful(self._machine, time.monotonic())
        return not self._wire.aborted

    def _progress(self, arrived: int) -> None:
        with self._holding.lock:
            self._holding.download.arriving(self._machine, arrived)

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
