"""What the neighbours have, or say is coming to them, and how many of them have each piece: by their own word, without those
that are doubted.

Pure.
"""

from __future__ import annotations

from array import array

from fleetcast.swarm.bitmap import Ranges
from fleetcast.swarm.claims import Claims
from fleetcast.swarm.picker import EVERYTHING, MISSING, PENDING


class Supply:
    """One part of the state of a download; see there for what *near* and *doubted* mean."""

    def __init__(self, states: bytearray, me: str) -> None:
        """``states`` of all pieces there may be; ``me``: see :class:`~fleetcast.swarm.download.Download`."""
        self.states = states
        self._me = me
        self._share = EVERYTHING
        self._holders = array("H", bytes(2 * len(states)))
        """How many neighbours that are not doubted have each piece."""
        self._near = array("H", bytes(2 * len(states)))
        """How many near ones that are not doubted have each piece, or are about to."""
        self._neighbours: dict[str, Claims] = {}
        self._doubted: set[str] = set()

    def hear(self, machine: str, ranges: Ranges) -> bool:
        """A neighbour has these pieces. True: it may be asked for some of them.

        Raises :class:`Corrupt` for numbers that no piece of this artifact can have.
        """
        neighbour = self._neighbours[machine]
        neighbour.check(ranges)
        believed = machine not in self._doubted
        news = False
        for first, last in ranges:
            for piece in range(first, last):
                if not neighbour.has[piece]:
                    neighbour.has[piece] = 1
                    self._holders[piece] += believed
                    if neighbour.near and neighbour.coming.pop(piece, None) is None:
                        self._near[piece] += believed
                    if self.states[piece] in (MISSING, PENDING):
                        neighbour.candidates.add(piece)
                        neighbour.dry = False
                        news = True
        return news

    def hear_coming(self, machine: str, ranges: Ranges, now: float) -> None:
        """A near neighbour is about to get these pieces from outside the rack. Raises as :meth:`hear`."""
        neighbour = self._neighbours[machine]
        neighbour.check(ranges)
        for first, last in ranges:
            for piece in range(first, last):
                if neighbour.expect(piece, now):
                    self._near[piece] += machine not in self._doubted

    def hear_load(self, machine: str, load: int) -> None:
        """How many pieces a neighbour owes in all, us included."""
        self._neighbours[machine].hear_load(load)

    def hear_askers(self, machine: str, askers: int) -> None:
        """How many a neighbour serves, us included; 0: it does not say."""
        self._neighbours[machine].askers = askers

    def askers(self) -> dict[str, int]:
        """How many each neighbour serves that said so."""
        return {machine: neighbour.askers for machine, neighbour in self._neighbours.items() if neighbour.askers}

    def debtors(self) -> frozenset[str]:
        """Neighbours that owe pieces."""
        return frozenset(machine for machine, neighbour in self._neighbours.items() if neighbour.debts.asked)

    def _divide(self) -> None:
        """Who is in the rack has changed. Each goes by whom it knows: where that differs a piece is of two, or of none."""
        rack = sorted([self._me, *(machine for machine, neighbour in self._neighbours.items() if neighbour.near)])
        self._share = rack.index(self._me), len(rack)

    def _count(self, neighbour: Claims, by: int) -> None:
        for piece, has in enumerate(neighbour.has):
            if has:
                self._holders[piece] += by
                self._near[piece] += by * neighbour.near
        for piece in neighbour.coming:
            self._near[piece] += by
        self._stir()

    def _stir(self) -> None:
        """Something may be MISSING, or allowed, that was not: look through everybody again."""
        for neighbour in self._neighbours.values():
            neighbour.dry = False
