"""One connection that we serve: a peer asks for pieces of one artifact, and gets them in order."""

from __future__ import annotations

import structlog

from fleetcast.model.errors import Corrupt, FleetcastError, Unavailable
from fleetcast.model.ids import MachineId
from fleetcast.model.limits import SWARM_HAVE_PIECES_MAX
from fleetcast.stores.limiter import Limiter
from fleetcast.swarm import codec
from fleetcast.swarm.bitmap import pack
from fleetcast.swarm.holding import Holding
from fleetcast.swarm.teller import Teller
from fleetcast.swarm.wire import Wire

log = structlog.get_logger(__name__)


class Upload:
    """The conversation after the hellos. :meth:`run` is one thread's; :meth:`tell` is the teller's."""

    def __init__(self, wire: Wire, holding: Holding, peer: MachineId, teller: Teller, limit: Limiter, *, near: bool) -> None:
        """``near``: the peer shares our rack, and wants to know what is coming into it."""
        self._wire = wire
        self._holding = holding
        self._peer = peer
        self._teller = teller
        self._limit = limit
        self._near = near
        # Up to where in the logs the peer has been told, and which load. Under the wire's ``sending``.
        self._cursor = 0
        self._coming_cursor = 0
        self._told_load = 0
        self._listening = False

    def run(self, hello: codec.Hello) -> None:
        """Greet, then answer until the peer is done. Raises :class:`Unavailable`, :class:`Corrupt`, OSError, ValueError."""
        self._holding.poke = self._teller.poke
        with self._holding.lock:
            self._holding.askers += 1
            self._cursor = self._holding.download.log.cursor
            flags = self._holding.download.owned_flags()
        try:
            self._wire.send(hello, codec.Bitmap(len(flags), pack(flags)))
            while self._take(self._wire.receive()):
                pass
        finally:
            self._teller.forget(self)
            with self._holding.lock:
                self._holding.askers -= 1

    def _take(self, frame: codec.Frame) -> bool:
        """False: the peer is done."""
        match frame:
            case codec.Request(pieces):
                self._serve(pieces)
                self._listen()
            case codec.Wait():
                self._listen()
            case codec.Bye():
                if frame.piece != codec.NO_PIECE:
                    self._check(frame.piece)
                return False
            case _:
                raise Corrupt("bad_frame", f"{self._peer} sent something that only a server may send")
        return True

    def _listen(self) -> None:
        """The peer hears what is new as soon as there is something."""
        with self._wire.sending:
            self._listening = True
            self._teller.listen(self)
        self._teller.poke()

    def _serve(self, pieces: tuple[int, ...]) -> None:
        holding, owed = self._holding, len(pieces)
        with holding.lock:
            holding.load += owed
        try:
            for piece in pieces:
                self._answer(piece)
                owed -= 1
                with holding.lock:
                    holding.load -= 1
                if owed:
                    # Others may want to know that we are less busy. After the last piece _listen() tells them.
                    self._teller.poke()
        finally:
            if owed:
                with holding.lock:
                    holding.load -= owed

    def _answer(self, piece: int) -> None:
        holding = self._holding
        if self._limit.bytes_per_s:
            self._await_turn(piece)
        with self._wire.sending:
            with holding.lock:
                owned = holding.download.owns(piece)
                news, _ = self._news()
                load = holding.load - 1
            if news:
                self._answered()
            if not owned:
                self._wire.send_held(*news, codec.Refused("not_held", piece))
                return
            self._told_load = load
            self._wire.send_held(*news, codec.Chunk(piece, holding.files.map.length(piece), load))
            try:
                holding.files.send(piece, self._wire)
            except Corrupt:
                self._check(piece)
                raise

    def _await_turn(self, piece: int) -> None:
        with self._holding.lock:
            owned = self._holding.download.owns(piece)
        if owned:
            self._limit.pay(self._holding.digest, self._holding.files.map.length(piece), self._in_line)

    def _in_line(self) -> bool:
        """Tell the peer that what it waits for waits for our limit. Raises as :meth:`run`."""
        self._wire.send(codec.Have((), in_line=True))
        return True

    def tell(self, *, anything: bool) -> None:
        """See :class:`teller.Listener`."""
        if not self._wire.sending.acquire(blocking=False):
            # A piece is being sent: the next one brings the news along.
            return
        try:
            if not self._listening:
                # An answer went with a piece. What is new since is for the next question: it must not be taken now.
                return
            with self._holding.lock:
                news, load = self._news()
            if self._holding.closed:
                raise Unavailable("not_shared", "this artifact is not served here any more")
            if news or anything or load <= self._told_load // 2 < self._told_load:
                self._answered()
                self._told_load = load
                self._wire.send_held(*(news or [codec.Have((), load, askers=self._holding.askers)]))
        except (FleetcastError, OSError, ValueError):
            # The thread that serves it finds it broken, and ends.
            self._wire.abort()
        finally:
            self._wire.sending.release()

    def _answered(self) -> None:
        """Under the wire's ``sending``."""
        if self._listening:
            self._listening = False
            self._teller.forget(self)

    def _news(self) -> tuple[list[codec.Frame], int]:
        """What the peer has not been told yet, and the load. Under the wire's ``sending`` and the holding's lock."""
        download, load = self._holding.download, self._holding.load
        frames: list[codec.Frame] = []
        if self._near and download.coming.cursor > self._coming_cursor:
            self._coming_cursor, coming = download.coming.since(self._coming_cursor, SWARM_HAVE_PIECES_MAX)
            frames.append(codec.Coming(coming))
        if download.log.cursor > self._cursor or frames:
            self._cursor, ranges = download.log.since(self._cursor, SWARM_HAVE_PIECES_MAX)
            frames.append(codec.Have(ranges, load, askers=self._holding.askers))
        return frames, load

    def _check(self, piece: int) -> None:
        if not self._holding.recheck(piece):
            log.error("served_piece_damaged", digest=self._holding.digest, piece=piece, told_by=self._peer)
