"""The state of one artifact on one machine: what is owned, who was asked for what, what to ask next.

Every method is a short pure step; threads call them under one lock. *Askers* are whoever can bring a piece: a neighbour by its
machine's id, :data:`ORIGIN`, or :data:`LOCAL` (this machine's own disk). The life of a piece::

    UNKNOWN -> MISSING -> PENDING -> OWNED
                   ^---------'          a piece nobody is working on any more is MISSING again

A neighbour that does not bring what it owes is *doubted*: what it claims does not count and what it owes is MISSING, so that
others, and the origin, are asked for it. It is asked for one piece at a time, and counts again once it brought one. Doubt
outlives the connection.

Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from random import Random
from typing import Final

from fleetcast.model.errors import Corrupt
from fleetcast.model.limits import ORIGIN_RANGES_MAX, SWARM_PIECE_S_MAX, SWARM_REQUESTS_IN_FLIGHT
from fleetcast.swarm.bitmap import HaveLog, Ranges
from fleetcast.swarm.debts import Debts
from fleetcast.swarm.picker import MISSING, OWNED, PENDING, UNKNOWN, Candidates, end_game

# No machine has such an id: ids are DNS labels.
ORIGIN: Final = "@origin"
LOCAL: Final = "@local"


class _Neighbour:
    """What one neighbour has, and what it owes us."""

    def __init__(self, capacity: int) -> None:
        self.has = bytearray(capacity)
        self.candidates = Candidates()
        self.debts = Debts()


class Download:
    """Pieces are numbered as in ``pieces``. ``known`` of at most ``capacity`` numbers mean something yet."""

    def __init__(self, known: int, capacity: int) -> None:
        self.known = known
        self.capacity = capacity
        self.states = bytearray([MISSING]) * known + bytearray([UNKNOWN]) * (capacity - known)
        self.log = HaveLog()
        self.missing = known
        """Known pieces that are not OWNED."""
        self._holders = array("H", bytes(2 * capacity))
        """How many neighbours that are not doubted have each piece."""
        self._neighbours: dict[str, _Neighbour] = {}
        self._doubted: set[str] = set()
        self._asked: dict[int, dict[str, float]] = {}
        self._local: set[int] = set()
        self._writing: set[int] = set()

    @classmethod
    def complete(cls, count: int) -> Download:
        """Everything is OWNED: there is only serving left."""
        download = cls(count, count)
        download.states = bytearray([OWNED]) * count
        download.missing = 0
        return download

    def learn(self, known: int, local: Iterable[int]) -> None:
        """The manifest is here: ``known`` pieces exist; ``local`` ones are first tried from this machine's disk.

        Raises :class:`Corrupt` when they are more than the root promised.
        """
        if known > self.capacity:
            raise Corrupt("root_sizes", "the manifest has more chunks than its root says: rebuild the artifact")
        first, self.known = self.known, known
        self.states[first:known] = bytearray([MISSING]) * (known - first)
        self.missing += known - first
        self.take(local, LOCAL, 0.0)
        for neighbour in self._neighbours.values():
            for piece in range(first, known):
                if neighbour.has[piece]:
                    neighbour.candidates.add(piece)

    # What neighbours have

    def join(self, machine: str) -> None:
        """A neighbour is connected; it has nothing yet. It must not have joined already."""
        assert machine not in self._neighbours
        self._neighbours[machine] = _Neighbour(self.capacity)

    def leave(self, machine: str) -> None:
        """A neighbour is gone: what it owes is MISSING again, what it has is held by one fewer. One that goes owing is
        doubted when it comes back, or it could claim everything anew each time.
        """
        if self._neighbours[machine].debts:
            self._doubt(machine)
        neighbour = self._neighbours.pop(machine)
        if machine not in self._doubted:
            self._count(neighbour, -1)

    def _count(self, neighbour: _Neighbour, by: int) -> None:
        for piece, has in enumerate(neighbour.has):
            if has:
                self._holders[piece] += by

    def hear(self, machine: str, ranges: Ranges) -> None:
        """A neighbour has these pieces. Raises :class:`Corrupt` for numbers that no piece of this artifact can have."""
        neighbour = self._neighbours[machine]
        for first, last in ranges:
            if not 0 <= first <= last <= self.capacity:
                raise Corrupt("bad_pieces", f"{machine} speaks of pieces {first} to {last} of at most {self.capacity}")
            for piece in range(first, last):
                if not neighbour.has[piece]:
                    neighbour.has[piece] = 1
                    self._holders[piece] += machine not in self._doubted
                    if self.states[piece] in (MISSING, PENDING):
                        neighbour.candidates.add(piece)

    def lacks(self, machine: str, piece: int) -> None:
        """A neighbour was asked for a piece and has it not: it is doubted."""
        neighbour = self._neighbours[machine]
        self._doubt(machine)
        neighbour.debts.cancel(piece)
        if 0 <= piece < self.capacity:
            # Its number lingers among the candidates until request() meets it.
            neighbour.has[piece] = 0

    # Whether neighbours keep their word

    def review(self, now: float) -> tuple[str, ...]:
        """Doubt the neighbours that are overdue; returns those that were not doubted before."""
        overdue = [machine for machine, neighbour in self._neighbours.items() if neighbour.debts.overdue(now)]
        return tuple(machine for machine in overdue if self._doubt(machine))

    def hopeless(self, now: float) -> tuple[str, ...]:
        """Neighbours that owe an answer for longer than ``SWARM_PIECE_S_MAX``, however much they send: to be dropped."""
        return tuple(
            machine for machine, neighbour in self._neighbours.items() if neighbour.debts.waited_s(now) > SWARM_PIECE_S_MAX
        )

    def doubts(self, machine: str) -> bool:
        return machine in self._doubted

    def _doubt(self, machine: str) -> bool:
        """False: it was doubted already."""
        if machine in self._doubted:
            return False
        neighbour = self._neighbours[machine]
        self._doubted.add(machine)
        self._count(neighbour, -1)
        for piece in neighbour.debts.pieces:
            # It may come all the same, and is taken then.
            self._withdraw(piece, machine)
        return True

    def paid(self, machine: str, now: float) -> None:
        """A neighbour brought a piece, which was right; we are ready for its next."""
        neighbour = self._neighbours[machine]
        neighbour.debts.paid(now)
        if machine in self._doubted:
            self._doubted.remove(machine)
            self._count(neighbour, 1)
            for piece in neighbour.debts.pieces:
                if self.states[piece] != OWNED:
                    self._await(piece, machine, now)

    def arriving(self, machine: str, arrived: int) -> None:
        """``arrived`` bytes of the piece that a neighbour is sending are here."""
        self._neighbours[machine].debts.arriving(arrived)

    def ask_news(self, machine: str, now: float) -> None:
        """A neighbour was asked what is new; :meth:`told` when it answers."""
        self._neighbours[machine].debts.ask_news(now)

    def told(self, machine: str) -> None:
        self._neighbours[machine].debts.told()

    # Asking

    def request(self, machine: str, now: float, rng: Random) -> tuple[int, ...]:
        """Pieces to ask this neighbour for now, until it owes ``SWARM_REQUESTS_IN_FLIGHT``; one, if it is doubted."""
        neighbour = self._neighbours[machine]
        doubted = machine in self._doubted
        asks: list[int] = []
        while len(neighbour.debts) < (1 if doubted else SWARM_REQUESTS_IN_FLIGHT):
            piece = neighbour.candidates.pick(self.states, self._holders, rng)
            if piece is not None and not neighbour.has[piece]:
                neighbour.candidates.drop(piece)
                continue
            if piece is None:
                piece = self._end_game(machine, neighbour, now)
            if piece is None:
                break
            neighbour.debts.ask(piece, now)
            if not doubted:
                self._await(piece, machine, now)
            asks.append(piece)
        return tuple(asks)

    def _await(self, piece: int, machine: str, now: float) -> None:
        self.states[piece] = PENDING
        self._asked.setdefault(piece, {})[machine] = now

    def _end_game(self, machine: str, neighbour: _Neighbour, now: float) -> int | None:
        # _asked is short: what neighbours and the origin owe. What LOCAL brings is not in it.
        open_asks = {piece: since for piece, since in self._asked.items() if self._awaited(piece)}
        return end_game(open_asks, neighbour.has, machine, now)

    def _awaited(self, piece: int) -> bool:
        return self.states[piece] == PENDING and piece not in self._writing and piece not in self._local

    def owed(self, machine: str, piece: int) -> bool:
        """Whether this neighbour was asked for this piece and has not answered."""
        return piece in self._neighbours[machine].debts

    def owes_any(self, machine: str) -> bool:
        return bool(self._neighbours[machine].debts)

    def without_holder(self, rng: Random) -> Ranges:
        """MISSING pieces that nobody but doubted neighbours has: what the origin may be asked for. At most
        ``ORIGIN_RANGES_MAX`` ranges, from a random place on, so that peers ask for different ones.
        """
        start = rng.randrange(self.known) if self.known else 0
        ranges: list[tuple[int, int]] = []
        for first, last in ((start, self.known), (0, start)):
            piece = first
            while piece < last and len(ranges) < ORIGIN_RANGES_MAX:
                piece = self.states.find(MISSING, piece, last)
                if piece < 0:
                    break
                end = piece
                while end < last and self.states[end] == MISSING and not self._holders[end]:
                    end += 1
                if end > piece:
                    ranges.append((piece, end))
                piece = end + 1
        return tuple(sorted(ranges))

    def take(self, pieces: Iterable[int], asker: str, now: float) -> tuple[int, ...]:
        """``asker`` (ORIGIN or LOCAL) works on those of ``pieces`` that are MISSING, which are returned. Numbers of no known
        piece are passed over: a region may say anything.
        """
        taken = tuple(piece for piece in pieces if 0 <= piece < self.known and self.states[piece] == MISSING)
        for piece in taken:
            self.states[piece] = PENDING
            if asker == LOCAL:
                self._local.add(piece)
            else:
                self._asked[piece] = {asker: now}
        return taken

    def give_up(self, piece: int, asker: str) -> None:
        """``asker`` will not bring this piece. Nothing happens if it was never asked."""
        if asker in self._neighbours:
            self._neighbours[asker].debts.cancel(piece)
        self._withdraw(piece, asker)

    def give_up_local(self) -> None:
        """This machine's disk has nothing more to give: what it was to bring is MISSING, unless it is being written."""
        for piece in list(self._local):
            self._withdraw(piece, LOCAL)

    def _withdraw(self, piece: int, asker: str) -> None:
        if asker == LOCAL:
            self._local.discard(piece)
        askers = self._asked.get(piece, {})
        askers.pop(asker, None)
        if not askers:
            self._asked.pop(piece, None)
            if self._awaited(piece):
                self.states[piece] = MISSING

    # Arrival

    def accept(self, piece: int, asker: str) -> bool:
        """Verified bytes of a piece are here. True: the caller writes them and then calls :meth:`own` or :meth:`refuse`.
        False: they are here already, or being written by another; drop them. Then, for a neighbour, :meth:`paid`.
        """
        first = self.states[piece] != OWNED and piece not in self._writing
        # Whether or not it was asked for: bytes with the right digest are the right bytes.
        if first:
            self.states[piece] = PENDING
            self._writing.add(piece)
        if asker in self._neighbours:
            self._neighbours[asker].debts.verified(piece)
        self._withdraw(piece, asker)
        return first

    def own(self, piece: int) -> None:
        """An accepted piece is in its final place: it counts, and neighbours hear of it."""
        self._writing.remove(piece)
        self._local.discard(piece)
        self.states[piece] = OWNED
        self.missing -= 1
        self.log.add(piece)

    def refuse(self, piece: int) -> None:
        """An accepted piece could not be written."""
        self._writing.remove(piece)
        self._withdraw(piece, "")

    def forget(self, piece: int) -> bool:
        """An OWNED piece turned out damaged on disk: it is MISSING again. False: it was not OWNED."""
        if not 0 <= piece < self.known or self.states[piece] != OWNED:
            return False
        self.states[piece] = MISSING
        self.missing += 1
        for machine, neighbour in self._neighbours.items():
            if neighbour.has[piece]:
                neighbour.candidates.add(piece)
            if piece in neighbour.debts and machine not in self._doubted:
                # A second copy of it is still on its way.
                self._await(piece, machine, 0.0)
        return True

    # What we have

    def owns(self, piece: int) -> bool:
        return 0 <= piece < self.known and self.states[piece] == OWNED

    def owned_flags(self) -> bytes:
        """A flag a known piece: what a new neighbour is told once; the log tells it the rest."""
        return bytes(self.states[: self.known]).translate(_OWNED_FLAGS)

    @property
    def neighbours(self) -> int:
        return len(self._neighbours)


_OWNED_FLAGS: Final = bytes(1 if state == OWNED else 0 for state in range(256))
