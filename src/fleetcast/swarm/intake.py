"""Where pieces arrive: each is verified before it counts, written once, journalled, counted and made known, in this order."""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from fleetcast.model.deployment import ByteCounts
from fleetcast.model.errors import Corrupt, Refused
from fleetcast.swarm.bandwidth import Bandwidth
from fleetcast.swarm.buffers import Buffers
from fleetcast.swarm.holding import Holding
from fleetcast.swarm.journal import Journal, Source


@dataclass(slots=True)
class Tally:
    """Content bytes by where they came from: a piece's first copy by its source, its repetitions ``local``."""

    counts: dict[Source, int]

    def add(self, source: Source, payload: tuple[int, int]) -> None:
        """``payload``: bytes of the first copy, and of its repetitions."""
        self.counts[source] += payload[0]
        self.counts[Source.LOCAL] += payload[1]

    def remove(self, source: Source, payload: tuple[int, int]) -> None:
        self.add(source, (-payload[0], -payload[1]))

    def bytes(self) -> ByteCounts:
        return ByteCounts(self.counts[Source.ORIGIN], self.counts[Source.PEER], self.counts[Source.LOCAL])


class Intake:
    """For one fetch. Callable from any thread."""

    def __init__(self, holding: Holding, journal: Journal, bandwidth: Bandwidth, buffers: Buffers) -> None:
        self.holding = holding
        self.buffers = buffers
        """For those who receive."""
        self.bandwidth = bandwidth
        """For those who bring what comes from elsewhere. They pay for it once it is written."""
        self._journal = journal
        self._tally = Tally(dict.fromkeys(Source, 0))
        self._sources: dict[int, Source] = {}
        self.error = ""
        """Why nothing can be taken in any more: the disk refused."""

    def offer(self, piece: int, data: memoryview, asker: str, source: Source) -> bool:
        """Bytes for ``piece``; False: they are wrong, and ``asker`` does not owe the piece any more.

        Raises :class:`Refused`: the disk did not take them; :attr:`error` is set and the fetch ends.
        """
        holding = self.holding
        right = len(data) == holding.files.map.length(piece) and blake3(data).digest() == holding.files.map.blake3(piece)
        with holding.lock:
            if not right:
                holding.download.give_up(piece, asker)
                return False
            if not holding.download.accept(piece, asker):
                return True
        try:
            holding.files.write(piece, data)
            if not holding.files.map.is_manifest(piece):
                self._journal.add(piece, source)
        except (OSError, ValueError, Corrupt) as error:
            self._fail(piece, str(error))
            raise Refused("disk_refused", self.error) from error
        self._own(piece, source)
        return True

    def found(self, piece: int, source: Source) -> None:
        """A piece that was on disk already and has just been hashed; ``source`` as journalled."""
        with self.holding.lock:
            if not self.holding.download.accept(piece, ""):
                return
        self._own(piece, source)

    def _own(self, piece: int, source: Source) -> None:
        holding = self.holding
        with holding.lock:
            payload = holding.files.map.payload(piece)
            before = self._sources.get(piece)
            if before is not None:
                # It was here before and was damaged: it is one piece all the same.
                self._tally.remove(before, payload)
            self._sources[piece] = source
            self._tally.add(source, payload)
            holding.download.own(piece)
            if not holding.download.missing:
                holding.turn.notify_all()
        holding.poke()

    def _fail(self, piece: int, reason: str) -> None:
        with self.holding.lock:
            self.holding.download.refuse(piece)
            self.error = f"cannot write to the release's directory: {reason}; make room or repair the disk"
            self.holding.turn.notify_all()

    def bytes(self) -> ByteCounts:
        """Of the content, so far. Under the holding's lock."""
        return self._tally.bytes()
