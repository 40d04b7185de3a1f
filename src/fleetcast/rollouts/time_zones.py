"""Time zones by their names, as this host knows them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fleetcast.model.errors import Unprocessable
from fleetcast.model.freeze import Freeze
from fleetcast.rollouts.freezes import Zoned


def zone_of(name: str) -> tzinfo | None:
    """``None``: this host does not know it. UTC it knows whatever is installed."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory
        return None


def zoned(freezes: Iterable[Freeze]) -> tuple[Zoned, ...]:
    return tuple(Zoned(freeze, zone_of(freeze.zone)) for freeze in freezes)


def must_be_known(freezes: Iterable[Freeze]) -> None:
    """Raises :class:`Unprocessable` where one names a time zone that this host does not know."""
    for each in zoned(freezes):
        if each.zone is None:
            advice = "correct its name, or install the time zone database (tzdata) where control runs"
            raise Unprocessable("unknown_time_zone", f"control does not know the time zone {each.freeze.zone}: {advice}")
