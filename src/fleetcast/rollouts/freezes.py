"""When a freeze is in force, until when, and what is wrong with one (pure).

Time zones are handed in: what they say comes from files of the host, and a host may not have one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from fleetcast.model.freeze import HOURS, MOMENT, ZONE, Freeze, Weekday
from fleetcast.model.limits import FREEZE_LOOK_S, FREEZE_REASON_CHARS_MAX, FREEZES_MAX
from fleetcast.model.spans import span

_DAYS: Final = tuple(Weekday)
_DAY_MIN: Final = 24 * 60
_WEEK_MIN: Final = 7 * _DAY_MIN


@dataclass(frozen=True, slots=True)
class Zoned:
    """A freeze, and the time zone that it names; ``None``: this host does not know it."""

    freeze: Freeze
    zone: tzinfo | None


@dataclass(frozen=True, slots=True)
class Frozen:
    """That a freeze is in force."""

    until_ms: int | None
    """UTC; ``None``: for longer than ``FREEZE_LOOK_S``, or nobody knows."""
    reason: str
    """Of the one that ends last of those in force now."""

    @property
    def words(self) -> str:
        """``frozen until 2026-12-01 06:00 UTC (nights)``."""
        if self.until_ms is None:
            return f"frozen ({self.reason})"
        return f"frozen until {datetime.fromtimestamp(self.until_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC ({self.reason})"


def frozen(freezes: Sequence[Zoned], now_ms: int) -> Frozen | None:
    """Whether one is in force, and when none is any more: what follows at once on another is one freeze."""
    for each in freezes:
        if each.zone is None:
            return Frozen(None, f"{each.freeze.reason}; control's host does not know the time zone {each.freeze.zone}")
    reason, until = "", now_ms
    while True:
        ends = [(end, each.freeze.reason) for each in freezes if (end := _end_ms(each, until)) is not None]
        if not ends:
            return Frozen(until, reason) if reason else None
        if until > now_ms + FREEZE_LOOK_S * 1000:
            return Frozen(None, f"{reason}; for more than {span(FREEZE_LOOK_S)}")
        until, last = max(ends)
        reason = reason or last


def freeze_problems(freezes: Sequence[Freeze]) -> Iterator[str]:
    """Why they cannot be taken, whatever the time is; nothing: they can."""
    if len(freezes) > FREEZES_MAX:
        yield f"{len(freezes)} freezes are too many: there may be {FREEZES_MAX}"
    for number, freeze in enumerate(freezes, 1):
        for problem in _problems(freeze):
            yield f"freeze {number}: {problem}"
            return
    for zone in dict.fromkeys(freeze.zone for freeze in freezes):
        if _covers_the_week([freeze for freeze in freezes if freeze.zone == zone]):
            yield "its freezes leave no minute of the week in which a deployment could go on: open a window"


def _problems(freeze: Freeze) -> Iterator[str]:
    if not (0 < len(freeze.reason) <= FREEZE_REASON_CHARS_MAX and freeze.reason.isprintable()):
        yield f"say why, as its reason, in 1 to {FREEZE_REASON_CHARS_MAX} printable characters"
    if not HOURS.fits(freeze.hours):
        yield f"hours are {freeze.hours!r}: write them as 22:00-06:00"
        return
    if freeze.hours and freeze.hours[:5] == freeze.hours[6:]:
        yield f"hours are {freeze.hours}, which is the whole day: leave them out"
    if len(set(freeze.weekdays)) < len(freeze.weekdays):
        yield "it names a weekday twice: name each once"
    if not ZONE.fits(freeze.zone):
        yield f"{freeze.zone!r} is no name of a time zone: write UTC or, for instance, Europe/Berlin"
    for what, moment in (("starts", freeze.starts), ("ends", freeze.ends)):
        if not _is_moment(moment):
            yield f"{what} is {moment!r}: write it as 2026-12-23 or 2026-12-23T18:00"
            return
    if freeze.starts and freeze.ends and _local(freeze.starts) >= _local(freeze.ends):
        yield "it ends before it starts: turn starts and ends round"
    if not freeze.recurs and not freeze.ends:
        yield "it never ends: say when it ends, or on which weekdays or in which hours it is"


def _is_moment(text: str) -> bool:
    if not MOMENT.fits(text):
        return False
    try:
        return not text or bool(_local(text))
    except ValueError:  # the 31st of a short month
        return False


def _covers_the_week(freezes: Sequence[Freeze]) -> bool:
    minutes = bytearray(_WEEK_MIN)
    for freeze in freezes:
        if not freeze.recurs or freeze.starts or freeze.ends:
            continue
        first, count = _minutes(freeze)
        for number, day in enumerate(_DAYS):
            if not freeze.weekdays or day in freeze.weekdays:
                for minute in range(number * _DAY_MIN + first, number * _DAY_MIN + first + count):
                    minutes[minute % _WEEK_MIN] = 1
    return all(minutes)


def _end_ms(zoned: Zoned, at_ms: int) -> int | None:
    """When the stretch ends that ``at_ms`` is in; ``None``: it is in none."""
    freeze, zone = zoned.freeze, zoned.zone
    assert zone is not None
    starts = _utc_ms(_local(freeze.starts), zone) if freeze.starts else -math.inf
    ends = _utc_ms(_local(freeze.ends), zone) if freeze.ends else math.inf
    if not starts <= at_ms < ends:
        return None
    if not freeze.recurs:
        return int(ends)
    today = datetime.fromtimestamp(at_ms / 1000, zone).date()
    for day in (today, today - timedelta(days=1)):
        if freeze.weekdays and _DAYS[day.weekday()] not in freeze.weekdays:
            continue
        first, count = _minutes(freeze)
        if _utc_ms(_at(day, first), zone) <= at_ms < (closes := _utc_ms(_at(day, first + count), zone)):
            return int(min(closes, ends))
    return None


def _minutes(freeze: Freeze) -> tuple[int, int]:
    """The first minute of the day, and how many there are."""
    if not freeze.hours:
        return 0, _DAY_MIN
    first, last = (int(text[:2]) * 60 + int(text[3:]) for text in freeze.hours.split("-"))
    return first, last - first if last > first else last - first + _DAY_MIN


def _at(day: date, minute: int) -> datetime:
    return datetime.combine(day, time()) + timedelta(minutes=minute)


def _local(moment: str) -> datetime:
    return datetime.fromisoformat(moment)


def _utc_ms(local: datetime, zone: tzinfo) -> int:
    return int(local.replace(tzinfo=zone).timestamp() * 1000)
