"""How far the clock of this host is off another one. A clock that is off breaks what is dated: grants, tickets, signatures."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

from fleetcast.cli.doctor.checks import Check, fail, ok, warn

CLOCK_WARN_S: Final = 2.0
CLOCK_FAIL_S: Final = 30.0
DATE_RESOLUTION_S: Final = 2.0
"""A Date header has whole seconds, and a server makes one a second."""
_ADVICE: Final = "run an NTP client on both hosts: grants and tickets expire by the clock"


def clock(name: str, whose: str, behind_s: float) -> Check:
    """What there is to say about this host's clock, ``behind_s`` behind another one, ``whose`` (``control's``)."""
    if abs(behind_s) <= CLOCK_WARN_S:
        return ok(name, f"within {CLOCK_WARN_S:g} s of {whose}")
    says = f"{abs(behind_s):.0f} s {'behind' if behind_s > 0 else 'ahead of'} {whose}"
    return (fail if abs(behind_s) > CLOCK_FAIL_S else warn)(name, says, _ADVICE)


def behind_s(theirs: float, before: float, after: float, resolution_s: float = 0.0) -> float:
    """How far this clock is behind (positive) or ahead of another (negative), at least.

    ``theirs``: what the other one said, between ``before`` and ``after`` of this one; it may be ``resolution_s`` late. All in
    seconds since 1970.
    """
    if theirs > after:
        return theirs - after
    return min(0.0, theirs + resolution_s - before)


def behind_date_s(date: str | None, before: float, after: float) -> float | None:
    """The same of the ``Date`` of an answer; ``None``: it has none that can be read."""
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
    return behind_s(theirs, before, after, DATE_RESOLUTION_S)
