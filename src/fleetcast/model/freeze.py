"""Freezes: times in which no deployment lets machines in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from fleetcast.model.limits import FREEZE_REASON_CHARS_MAX
from fleetcast.model.spelling import Spelling, stated


class Weekday(StrEnum):
    """In the order of :meth:`datetime.date.weekday`."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


HOURS: Final = Spelling(r"(([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00))?")
"""``22:00-06:00``; where the end is not after the beginning, it is on the next day."""
MOMENT: Final = Spelling(r"(20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(T([01][0-9]|2[0-3]):[0-5][0-9])?)?")
ZONE: Final = Spelling(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}")


@dataclass(frozen=True, slots=True)
class Freeze:
    """In force whenever everything that it says is so, by the clocks of ``zone``: on these weekdays, in these hours, between
    ``starts`` and ``ends``. Hours that go past midnight belong to the day on which they begin.
    """

    reason: Annotated[str, stated(minLength=1, maxLength=FREEZE_REASON_CHARS_MAX)]
    weekdays: tuple[Weekday, ...] = ()
    """None: every day."""
    hours: Annotated[str, HOURS.meta] = ""
    """``22:00-06:00``; empty: the whole day."""
    starts: Annotated[str, MOMENT.meta] = ""
    """``2026-12-23`` or ``2026-12-23T18:00``."""
    ends: Annotated[str, MOMENT.meta] = ""
    """A moment that is no part of it any more."""
    zone: Annotated[str, ZONE.meta] = "UTC"
    """A name of the time zone database: ``Europe/Berlin``."""

    @property
    def recurs(self) -> bool:
        return bool(self.weekdays or self.hours)
