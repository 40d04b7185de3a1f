"""How many slots a worker has under ``--scale-to-load``. Pure.

More at once: a build that waits is what a slot is for. Fewer only when none of them was wanted for a while: a quiet minute
between two pushes is no reason, and a slot that comes and goes starts nothing any sooner.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.errors import Invalid
from fleetcast.model.limits import SCALE_DOWN_S, WORKER_SLOTS_MAX


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most slots."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Scaling:
    """What was wanted lately: at each time more than at all later ones, the newest last."""

    peaks: tuple[tuple[float, int], ...] = ()

    def after(self, now_s: float, wanted: int) -> Scaling:
        """With what is wanted now."""
        kept = (peak for peak in self.peaks if peak[0] > now_s - SCALE_DOWN_S and peak[1] > wanted)
        return Scaling((*kept, (now_s, wanted)))

    def slots(self, bounds: Bounds) -> int:
        """The most that was wanted lately, within bounds."""
        return min(bounds.most, max(bounds.least, self.peaks[0][1] if self.peaks else 0))


def bounds_of(text: str) -> Bounds:
    """``MIN..MAX`` as it is written. Raises :class:`Invalid`."""
    least, dots, most = text.partition("..")
    if dots and least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most) <= WORKER_SLOTS_MAX:
        return Bounds(int(least), int(most))
    raise Invalid(
        "bad_bounds", f"--scale-to-load {text}: write MIN..MAX, for instance 1..8, with 1 to {WORKER_SLOTS_MAX} slots"
    )
