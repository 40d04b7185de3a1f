"""Generations of a goal: pairs that only grow (law 3)."""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.spelling import Natural


@dataclass(frozen=True, slots=True, order=True)
class Generation:
    """``(epoch, counter)``, compared in that order.

    Every write of a goal raises the counter. The epoch rises when history may have been lost (a restored backup) or was
    passed over (a region acting without control), so that whatever was handed out before stays lower than what comes after.
    """

    epoch: Natural
    counter: Natural

    def next(self) -> Generation:
        """The generation of the next write in this epoch."""
        return Generation(self.epoch, self.counter + 1)

    def raised(self, now_ms: int) -> Generation:
        """The first generation of a new epoch: ``max(now in UTC ms, this epoch + 1)``."""
        return Generation(max(now_ms, self.epoch + 1), 1)


FIRST = Generation(0, 0)
"""Lower than every generation that is ever written."""
