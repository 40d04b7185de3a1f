"""The state of one artifact on one machine: what is owned, who was asked for what, what to ask next.

Every method is a short pure step; threads call them under one lock. *Askers* are whoever can bring a piece: a neighbour by its
machine's id, :data:`ORIGIN`, or :data:`LOCAL` (this machine's own disk). The life of a piece::

    UNKNOWN -> MISSING -> PENDING -> OWNED
                   ^---------'          a piece nobody is working on any more is MISSING again

A neighbour that does not bring what it owes is *doubted*: what it claims does not count and what it owes is MISSING, so that
others, and the origin, are asked for it. It is asked for one piece at a time, and counts again once it brought one. Doubt
outlives the connection.

Neighbours of the same rack are *near*. What a near one has, or says is coming to it, is not asked of the others: it crosses
the rack's uplink once. So that it is not said too late, each of a rack fetches its own share of the pieces from outside, by
their numbers, and others only when it would have nothing to do.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from random import Random
from typing import Final

from fleetcast.model.errors import Corrupt
from fleetcast.model.limits import (
    SWARM_IN_FLIGHT_MAX,
    SWARM_IN_FLIGHT_MIN,
    SWARM_IN_FLIGHT_S,
    SWARM_PIECE_S_MAX,
)
from fleetcast.swarm.bitmap import HaveLog, Ranges
from fleetcast.swarm.claims import Claims
from fleetcast.swarm.picker import END_GAME_LOOK_S, EVERYTHING, MISSING, OWNED, PENDING, UNKNOWN, end_game, unheld
from fleetcast.swarm.supply import Supply
from fleetcast.swarm.window import Window

# No machine has such an id: ids are DNS labels.
ORIGIN: Final = "@origin"
LOCAL: Final = "@local"
_OWNED_FLAGS: Final = bytes(state == OWNED for state in range(256))


class Download(Supply):
    """Pieces are numbered as in ``pieces``. ``known`` of at most ``capacity`` numbers mean something yet."""

    def __init__(self, known: int, capacity: int, me: str = "") -> None:
        """``me``: this machine's id, by which the rack shares what is to be fetched from outside."""
        super().__init__(bytearray([MISSING]) * known + bytearray([UNKNOWN]) * (capacity - known), me)
        self.known = known
        self.capacity = capacity
        self.log = HaveLog()
        self.missing = known
        """Known pieces that are not OWNED."""
        self.coming = HaveLog()
        """Pieces that were asked for outside the rack."""
        self._window = Window(SWARM_IN_FLIGHT_MIN, SWARM_IN_FLIGHT_MAX, SWARM_IN_FLIGHT_S)
        self._end_game_at = 0.0
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
            neighbour.dry = False
            for piece in range(first, known):
                if neighbour.has[piece]:
                    neighbour.candidates.add(piece)

    # What neighbours have

    def join(self, machine: str, *, near: bool = True) -> None:
        """A neighbour is connected; it has nothing yet. It must not have joined already."""
        assert machine not in self._neighbours
        self._neighbours[machine] = Claims(machine, self.capacity, near=near)
        self._divide()

    def leave(self, machine: str) -> None:
        """A neighbour is gone: what it owes is MISSING again, what it has is held by one fewer. One that goes owing is
        doubted when it comes back, or it could claim everything anew each time.
        """
        if self._neighbours[machine].debts.asked:
            self._doubt(machine)
        neighbour = self._neighbours.pop(machine)
        if machine not in self._doubted:
            self._count(neighbour, -1)
        self._divide()

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
        """Doubt the neighbours that are overdue; returns those that were not doubted before. What was to come and did not is
        not waited for any longer.
        """
        for machine, neighbour in self._neighbours.items():
            for piece in neighbour.overdue_coming(now):
                self._near[piece] -= machine not in self._doubted
                self._stir()
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
        for piece in tuple(neighbour.debts.asked):
            # It may come all the same, and is taken then.
            self._withdraw(piece, machine)
        return True

    def paid(self, machine: str, now: float) -> None:
        """A neighbour brought a piece, which was right; we are ready for its next."""
        neighbour = self._neighbours[machine]
        neighbour.debts.paid(now)
        self._window.arrived(now)
        if machine in self._doubted:
            self._doubted.remove(machine)
            self._count(neighbour, 1)
            for piece in tuple(neighbour.debts.asked):
                if self.states[piece] != OWNED:
                    self._await(piece, machine, now)

    def arriving(self, machine: str, arrived: int) -> None:
        """``arrived`` bytes of the piece that a neighbour is sending are here."""
        self._neighbours[machine].debts.arriving(arrived)

    def in_line(self, machine: str, now: float) -> None:
        """A neighbour says that what it owes waits for its rate limit: it is excused for a while, and asked for one piece at a
        time.
        """
        self._neighbours[machine].debts.in_line(now)

    def ask_news(self, machine: str, now: float) -> None:
        """A neighbour was asked what is new; :meth:`told` when it answers."""
        self._neighbours[machine].debts.ask_news(now)

    def told(self, machine: str) -> None:
        self._neighbours[machine].debts.told()

    # Asking

    def plan(self, now: float, rng: Random, most: int = SWARM_IN_FLIGHT_MAX) -> list[tuple[str, int]]:
        """Who is to be asked for which piece now, so that as much as :class:`Window` says is on its way, at ``most`` so many
        pieces: of whoever owes least to everybody, as far as is known, so that no link idles while another has a queue.
        """
        trusted = [each for machine, each in self._neighbours.items() if machine not in self._doubted and not each.leaving]
        in_flight = sum([len(neighbour.debts.asked) for neighbour in trusted])
        window = min(self._window.pieces, most)
        # Where pieces come fast, a request for each of them would cost more than it is worth to ask so soon.
        together = max(1, window // SWARM_IN_FLIGHT_MIN)
        room = window - in_flight
        if in_flight and room < together:
            room = 0
        asks = self._ask_for_fresh(trusted, room, together, now, rng) if room > 0 else []
        if room > len(asks) and now >= self._end_game_at and self.states.find(MISSING, 0, self.known) < 0:
            # What comes twice costs time and links: first comes what nobody was asked for.
            self._end_game_at = now + END_GAME_LOOK_S
            asks += self._end_game(trusted, room - len(asks), now)
        if len(trusted) < len(self._neighbours):
            asks += self._second_chances(now, rng)
        return asks

    def _ask_for_fresh(self, trusted: list[Claims], room: int, together: int, now: float, rng: Random) -> list[tuple[str, int]]:
        """For up to ``room`` MISSING pieces, ``together`` so many of one neighbour where it has them."""
        asks: list[tuple[str, int]] = []
        in_flight = any(neighbour.debts.asked for neighbour in trusted)
        if not in_flight and self._share != EVERYTHING:
            self._stir()
        each = self._window.share(len(trusted))
        able = [neighbour for neighbour in trusted if neighbour.able(each)]
        while able and room > len(asks):
            neighbour = min(able, key=attrgetter("owing"))
            for _ in range(min(1 if neighbour.debts.limited else together, room - len(asks))):
                piece = self._fresh(neighbour, rng, idle=not in_flight and not asks)
                if piece is None:
                    break
                asks.append(self._ask(neighbour, piece, now))
            if not neighbour.able(each):
                able.remove(neighbour)
        return asks

    def _second_chances(self, now: float, rng: Random) -> list[tuple[str, int]]:
        """Doubted neighbours are asked for one piece, beside the rest."""
        asks: list[tuple[str, int]] = []
        for machine in self._doubted & self._neighbours.keys():
            neighbour = self._neighbours[machine]
            piece = self._fresh(neighbour, rng, idle=True) if neighbour.able(1) else None
            if piece is not None:
                neighbour.debts.ask(piece, now)
                asks.append((machine, piece))
        return asks

    def _end_game(self, trusted: list[Claims], room: int, now: float) -> list[tuple[str, int]]:
        """Neighbours that are free are asked for what others are slow with."""
        # _asked is short: what neighbours and the origin owe. What LOCAL brings is not in it.
        open_asks = {piece: since for piece, since in self._asked.items() if self._awaited(piece)}
        asks: list[tuple[str, int]] = []
        for neighbour in trusted:
            if len(asks) < room and not neighbour.debts.asked:
                piece = end_game(open_asks, neighbour.has, neighbour.machine, now)
                if piece is not None:
                    asks.append(self._ask(neighbour, piece, now))
        return asks

    def _ask(self, neighbour: Claims, piece: int, now: float) -> tuple[str, int]:
        neighbour.debts.ask(piece, now)
        self._await(piece, neighbour.machine, now)
        if not neighbour.near:
            self.coming.add(piece)
        return neighbour.machine, piece

    def _fresh(self, neighbour: Claims, rng: Random, *, idle: bool) -> int | None:
        """The rarest MISSING piece that it has, of a sample; of our share, unless we are ``idle``. ``None``: there is none, and
        it is dry until there is.
        """
        shunned = None if neighbour.near else self._near
        share = EVERYTHING if idle else self._share
        while True:
            piece = neighbour.candidates.pick(self.states, self._holders, rng, shunned, share)
            if piece is None:
                neighbour.dry = True
            if piece is None or neighbour.has[piece]:
                return piece
            neighbour.candidates.drop(piece)

    def _await(self, piece: int, machine: str, now: float) -> None:
        self.states[piece] = PENDING
        self._asked.setdefault(piece, {})[machine] = now

    def _awaited(self, piece: int) -> bool:
        return self.states[piece] == PENDING and piece not in self._writing and piece not in self._local

    def owed(self, machine: str, piece: int) -> bool:
        """Whether this neighbour was asked for this piece and has not answered."""
        return piece in self._neighbours[machine].debts.asked

    def owes_any(self, machine: str) -> bool:
        return bool(self._neighbours[machine].debts.asked)

    def excuse(self, machine: str) -> None:
        """It is left by our own choice: what it owes is asked of others, and no word is broken. If it is there at all."""
        neighbour = self._neighbours.get(machine)
        if neighbour is not None:
            neighbour.leaving = True
            for piece in tuple(neighbour.debts.asked):
                self.give_up(piece, machine)

    def without_holder(self, rng: Random) -> Ranges:
        """MISSING pieces that nobody but doubted neighbours has: what the origin may be asked for; see :func:`unheld`."""
        return unheld(self.states, self._holders, self.known, rng)

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
                self._stir()

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
        self._stir()
        for machine, neighbour in self._neighbours.items():
            if neighbour.has[piece]:
                neighbour.candidates.add(piece)
            if piece in neighbour.debts.asked and machine not in self._doubted:
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
    def starving(self) -> bool:
        """Nothing is on its way, and something is missing."""
        return bool(self.missing) and not self._asked and not self._local
