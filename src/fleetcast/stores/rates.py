"""How fast bytes may go: a rate, and the line of those who wait for their turn under it.

Pure. All times are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from fleetcast.model.limits import CHUNK_AVERAGE_BYTES, RATE_AHEAD_S, RATE_SLACK_S

UNLIMITED: Final = 0


class Rate:
    """What went has taken its time by ``_free_at``, and the next goes no sooner, whatever its size. So in any ``t`` seconds go
    at most ``bytes_per_s * (t + RATE_SLACK_S)`` bytes and what went last.
    """

    def __init__(self, bytes_per_s: float = UNLIMITED) -> None:
        self.bytes_per_s = bytes_per_s
        self._free_at = float("-inf")

    def change(self, bytes_per_s: float, now: float) -> None:
        """From now on another rate; what went too early under the old one is owed under this one."""
        if self._free_at > now and bytes_per_s:
            self._free_at = now + (self._free_at - now) * self.bytes_per_s / bytes_per_s
        else:
            self._free_at = now
        self.bytes_per_s = bytes_per_s

    def wait_s(self, now: float) -> float:
        """How long nothing may go; 0: something may."""
        return max(0.0, self._free_at - now) if self.bytes_per_s else 0.0

    def spend(self, size: float, now: float) -> None:
        """So many bytes go now."""
        if self.bytes_per_s:
            # Threads wake a little late: what they miss by it may be made up for, a pause may not.
            self._free_at = max(self._free_at, now - RATE_SLACK_S) + size / self.bytes_per_s


@dataclass(eq=False, slots=True)
class Turn:
    """A place in the line."""

    whose: str
    size: int


class Line:
    """Who goes next: of those who wait, one of the party that has been let through the fewest bytes; within a party the
    first that came. A party that comes back counts as if it had had as much as the others meanwhile: nobody saves up.

    So of two that always wait each has what the other has, but for a chunk, and one that is alone has everything.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Turn]] = {}
        self._spent: dict[str, int] = {}
        """Of those who wait, and of who was ahead when it left."""
        self._level = 0
        """What whoever went last had spent before."""

    def join(self, whose: str, size: int) -> Turn:
        turn = Turn(whose, size)
        if whose not in self._waiting:
            self._waiting[whose] = deque()
            self._spent[whose] = max(self._spent.get(whose, 0), self._level)
        self._waiting[whose].append(turn)
        return turn

    def next(self) -> Turn | None:
        whose = min(self._waiting, key=self._spent.__getitem__, default=None)
        return self._waiting[whose][0] if whose is not None else None

    def go(self, turn: Turn) -> None:
        """It is let through, and out of the line."""
        self._level = self._spent[turn.whose]
        self._spent[turn.whose] += turn.size
        self.leave(turn)
        for whose in [whose for whose, spent in self._spent.items() if spent <= self._level and whose not in self._waiting]:
            del self._spent[whose]

    def leave(self, turn: Turn) -> None:
        """It waits no more."""
        waiting = self._waiting[turn.whose]
        waiting.remove(turn)
        if not waiting:
            del self._waiting[turn.whose]

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._waiting.values())


def pieces_ahead(bytes_per_s: float, most: int, askers: int = 1) -> int:
    """How many pieces each of ``askers`` asks for before it has paid for those that came: together ``RATE_AHEAD_S`` of the
    rate, at least one each and ``most`` at most.
    """
    if not bytes_per_s:
        return most
    return max(1, min(most, int(bytes_per_s * RATE_AHEAD_S / (askers * CHUNK_AVERAGE_BYTES))))
