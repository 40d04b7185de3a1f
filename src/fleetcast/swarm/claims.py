"""What one neighbour has, by its own word, and what it owes.

Pure.
"""

from __future__ import annotations

from fleetcast.model.errors import Corrupt
from fleetcast.model.limits import SWARM_COMING_S_MAX
from fleetcast.swarm.bitmap import Ranges
from fleetcast.swarm.debts import Debts
from fleetcast.swarm.picker import Candidates


class Claims:
    def __init__(self, machine: str, capacity: int, *, near: bool) -> None:
        """``near``: it shares our rack."""
        self.machine = machine
        self.has = bytearray(capacity)
        self.candidates = Candidates()
        self.debts = Debts()
        self.near = near
        self.coming: dict[int, float] = {}
        """Pieces that it is about to get from outside the rack, since when."""
        self.busy = 0
        """Pieces that it owes to others, as it told last."""
        self.askers = 0
        """How many it serves, as it told last."""
        self.dry = False
        """It has nothing that is MISSING."""
        self.leaving = False
        """We leave it for somebody else: it is asked for nothing more."""

    def check(self, ranges: Ranges) -> None:
        """Raises :class:`Corrupt` for numbers that no piece of the artifact can have."""
        for first, last in ranges:
            if not 0 <= first <= last <= len(self.has):
                raise Corrupt("bad_pieces", f"{self.machine} speaks of pieces {first} to {last} of at most {len(self.has)}")

    def hear_load(self, load: int) -> None:
        """How many pieces it owes in all, us included."""
        self.busy = max(0, load - len(self.debts.asked))

    @property
    def owing(self) -> int:
        """Pieces that it owes to everybody, as far as is known."""
        return self.busy + len(self.debts.asked)

    def able(self, each: int) -> bool:
        """Whether it may be asked for something more, of ``each`` pieces at a time; of one, if it is in line for a limit."""
        return not self.dry and not self.leaving and len(self.debts.asked) < (1 if self.debts.limited else each)

    def expect(self, piece: int, now: float) -> bool:
        """It is about to get a piece, says it. True: that is news, and matters to us."""
        if not self.near or self.has[piece] or piece in self.coming:
            return False
        self.coming[piece] = now
        return True

    def overdue_coming(self, now: float) -> list[int]:
        """What was to come to it and did not; it is not coming any more."""
        late = [piece for piece, since in self.coming.items() if now - since > SWARM_COMING_S_MAX]
        for piece in late:
            del self.coming[piece]
        return late
