"""One connection that we serve: a peer asks for pieces of one artifact, and gets them in order."""

from __future__ import annotations

import structlog

from fleetcast.model.errors import Corrupt, Unavailable
from fleetcast.model.ids import MachineId
from fleetcast.model.limits import HAVE_WAIT_MS_MAX, SWARM_HAVE_PIECES_MAX
from fleetcast.swarm import codec
from fleetcast.swarm.bitmap import pack
from fleetcast.swarm.holding import Holding
from fleetcast.swarm.wire import Wire

log = structlog.get_logger(__name__)


class Upload:
    """The conversation after the hellos."""

    def __init__(self, wire: Wire, holding: Holding, peer: MachineId) -> None:
        self._wire = wire
        self._holding = holding
        self._peer = peer
        self._cursor = 0
        """Up to where in the have-log the peer has been told."""

    def run(self, hello: codec.Hello) -> None:
        """Greet, then answer until the peer is done. Raises :class:`Unavailable`, :class:`Corrupt`, OSError, ValueError."""
        with self._holding.lock:
            self._cursor = self._holding.download.log.cursor
            flags = self._holding.download.owned_flags()
        self._wire.send(hello, codec.Bitmap(len(flags), pack(flags)))
        while True:
            frame = self._wire.receive()
            match frame:
                case codec.Request(pieces):
                    for piece in pieces:
                        self._answer(piece)
                case codec.Wait():
                    self._tell_news()
                case codec.Bye():
                    self._end(frame)
                    return
                case _:
                    raise Corrupt("bad_frame", f"{self._peer} sent something that only a server may send")

    def _answer(self, piece: int) -> None:
        holding = self._holding
        with holding.lock:
            owned = holding.download.owns(piece)
            self._cursor, ranges = holding.download.log.since(self._cursor, SWARM_HAVE_PIECES_MAX)
        frames: list[codec.Frame] = [codec.Have(ranges)] if ranges else []
        if not owned:
            self._wire.send(*frames, codec.Refused("not_held", piece))
            return
        self._wire.send(*frames, codec.Chunk(piece, holding.files.map.length(piece)))
        try:
            holding.files.send(piece, self._wire)
        except Corrupt:
            self._check(piece)
            raise

    def _tell_news(self) -> None:
        download = self._holding.download
        with self._holding.news:
            self._holding.news.wait_for(
                lambda: download.log.cursor > self._cursor or self._holding.closed, timeout=HAVE_WAIT_MS_MAX / 1000
            )
            self._cursor, ranges = download.log.since(self._cursor, SWARM_HAVE_PIECES_MAX)
        if self._holding.closed:
            raise Unavailable("not_shared", "this artifact is not served here any more")
        self._wire.send(codec.Have(ranges))

    def _end(self, bye: codec.Bye) -> None:
        if bye.piece != codec.NO_PIECE:
            self._check(bye.piece)

    def _check(self, piece: int) -> None:
        if not self._holding.recheck(piece):
            log.error("served_piece_damaged", digest=self._holding.digest, piece=piece, told_by=self._peer)
