"""Is a service well, given how attempts to ask it went? Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Standing(StrEnum):
    RISING = "RISING"
    """It was started, and was not found well yet."""
    WELL = "WELL"
    SICK = "SICK"
    """It was well and is so no more, or it did not come up in time."""


@dataclass(frozen=True, slots=True)
class Wellness:
    """Times are milliseconds of the machine's monotonic clock."""

    standing: Standing
    streak: int = 0
    """Attempts in a row that speak against ``standing``."""
    well_since_ms: int = 0
    """When it was found well; of use only while WELL or SICK."""
    well_until_ms: int = 0
    """The newest attempt that passed since then."""
    wrong: str = ""
    """What the newest attempt that failed said; empty: none has failed."""


def well(now_ms: int) -> Wellness:
    """Of a service that has just passed its health check."""
    return Wellness(Standing.WELL, 0, now_ms, now_ms)


def after(before: Wellness, wrong: str, now_ms: int, *, threshold: int, deadline_ms: int) -> Wellness:
    """With one more attempt. ``wrong``: why it failed, empty: it passed. ``deadline_ms``: until then what rises may take."""
    against = bool(wrong) is (before.standing is Standing.WELL)
    streak = before.streak + 1 if against else 0
    turned = streak >= threshold
    now = replace(before, streak=streak, wrong=wrong or before.wrong)
    if before.standing is Standing.WELL:
        if turned:
            return replace(now, standing=Standing.SICK, streak=0)
        return now if wrong else replace(now, well_until_ms=now_ms)
    if turned:
        return well(now_ms)
    if before.standing is Standing.RISING and wrong and now_ms >= deadline_ms:
        return replace(now, standing=Standing.SICK, streak=0)
    return now
