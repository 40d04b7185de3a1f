"""Clocks that may be wrong: how far one is off another, and what a jump of one means for what was stamped before. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fleetcast.model.limits import CLOCK_JUMP_S_MIN, CLOCK_SKEW_S_MAX

_UNITS: Final = ((86_400, "day"), (3600, "hour"), (60, "minute"))


def clock_alarm(whose: str, ours_ms: float, theirs_ms: int) -> str | None:
    """What a person should know when our clock is off that of who tells us the time; ``None``: it is near enough.

    ``theirs_ms`` 0: they do not tell. The text stays the same from one look to the next: it is an alarm's name.
    """
    off_s = (ours_ms - theirs_ms) / 1000
    if theirs_ms == 0 or abs(off_s) <= CLOCK_SKEW_S_MAX:
        return None
    # A clock that is off by just about one hour is not one minute called 60 at the next look.
    size, unit = next((size, unit) for size, unit in _UNITS if abs(off_s) >= 0.95 * size)
    count = round(abs(off_s) / size)
    direction = "ahead" if off_s > 0 else "behind"
    return f"{whose} is about {count} {unit}{'s' if count != 1 else ''} {direction}: set it right (is NTP running?)"


@dataclass(slots=True)
class ClockWatch:
    """Sees jumps of a clock by one that never jumps. One place may look, at whatever intervals."""

    _clock_ms: int | None = None
    _steady_s: float = 0.0

    def jumped_ms(self, clock_ms: int, steady_s: float) -> int:
        """By how much the clock jumped since the last look; 0: it did not, or this is the first.

        ``steady_s``: monotonic seconds. A suspended host is a jump too: nothing ran, and nobody could have been heard.
        """
        before_ms, before_s = self._clock_ms, self._steady_s
        self._clock_ms, self._steady_s = clock_ms, steady_s
        if before_ms is None:
            return 0
        jumped = clock_ms - before_ms - round((steady_s - before_s) * 1000)
        return jumped if abs(jumped) >= CLOCK_JUMP_S_MIN * 1000 else 0
