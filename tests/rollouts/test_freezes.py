"""When a freeze is in force, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.errors import Unprocessable
from fleetcast.model.freeze import Freeze, Weekday
from fleetcast.model.plan import Policy
from fleetcast.rollouts.freezes import Zoned, freeze_problems, frozen
from fleetcast.rollouts.plan_lint import problems
from fleetcast.rollouts.time_zones import must_be_known, zone_of, zoned

BERLIN = "Europe/Berlin"
NIGHTS = Freeze("nights", hours="22:00-06:00")
WEEKENDS = Freeze("weekends", weekdays=(Weekday.SAT, Weekday.SUN))
HOLIDAYS = Freeze("holidays", starts="2026-12-23T18:00", ends="2027-01-02")

hours = st.builds(
    lambda first, last: f"{first // 60:02}:{first % 60:02}-{last // 60:02}:{last % 60:02}",
    st.integers(0, 24 * 60 - 1),
    st.integers(0, 24 * 60 - 1),
)
freezes = st.builds(
    Freeze,
    st.sampled_from("abc"),
    st.lists(st.sampled_from(Weekday), unique=True, max_size=6).map(tuple),
    st.just("") | hours,
    st.just("") | st.just("2026-10-20"),
    st.sampled_from(["2026-11-03T12:00", "2026-10-25T02:30"]),
    st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe"]),
).filter(lambda freeze: not list(freeze_problems([freeze])))


def _at(text: str, *some: Freeze) -> str:
    """What it is like at this moment, UTC."""
    now = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    found = frozen(zoned(some), now)
    return "" if found is None else found.words


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("2026-11-30T21:59", ""),
        ("2026-11-30T22:00", "frozen until 2026-12-01 06:00 UTC (nights)"),
        ("2026-12-01T05:59", "frozen until 2026-12-01 06:00 UTC (nights)"),
        ("2026-12-01T06:00", ""),
    ],
)
def test_hours_go_past_midnight(now: str, said: str) -> None:
    assert _at(now, NIGHTS) == said


def test_hours_past_midnight_belong_to_the_day_on_which_they_begin() -> None:
    friday = Freeze("friday night", weekdays=(Weekday.FRI,), hours="22:00-06:00")
    assert _at("2026-12-05T05:00", friday) == "frozen until 2026-12-05 06:00 UTC (friday night)"
    assert _at("2026-12-04T05:00", friday) == ""


def test_what_follows_at_once_on_another_is_one_freeze() -> None:
    assert _at("2026-12-04T23:00", NIGHTS, WEEKENDS) == "frozen until 2026-12-07 06:00 UTC (nights)"
    assert _at("2026-12-24T12:00", HOLIDAYS, WEEKENDS) == "frozen until 2027-01-04 00:00 UTC (holidays)"


def test_by_the_clocks_of_its_zone_in_summer_and_in_winter() -> None:
    evening = Freeze("evenings", hours="18:00-20:00", zone=BERLIN)
    assert _at("2026-07-01T16:30", evening) == "frozen until 2026-07-01 18:00 UTC (evenings)"
    assert _at("2026-12-01T16:30", evening) == ""
    assert _at("2026-12-01T17:30", evening) == "frozen until 2026-12-01 19:00 UTC (evenings)"


def test_on_weekdays_between_two_days_only() -> None:
    season = Freeze("season", weekdays=(Weekday.FRI,), starts="2026-12-01", ends="2026-12-18T12:00")
    assert _at("2026-11-27T12:00", season) == ""
    assert _at("2026-12-11T12:00", season) == "frozen until 2026-12-12 00:00 UTC (season)"
    assert _at("2026-12-18T11:00", season) == "frozen until 2026-12-18 12:00 UTC (season)"


def test_a_zone_that_this_host_does_not_know_freezes() -> None:
    """Nobody can say that it is over."""
    unknown = Freeze("nights", hours="22:00-06:00", zone="Moon/Base")
    assert _at("2026-12-01T12:00", unknown) == "frozen (nights; control's host does not know the time zone Moon/Base)"
    with pytest.raises(Unprocessable, match="control does not know the time zone Moon/Base"):
        must_be_known([unknown])
    assert zone_of("UTC") is UTC


@given(st.lists(freezes, min_size=1, max_size=3), st.integers(0, 20 * 24 * 60))
def test_the_end_that_it_tells_is_the_first_moment_at_which_none_is_in_force(some: list[Freeze], minute: int) -> None:
    told = [Zoned(freeze, ZoneInfo(freeze.zone)) for freeze in some]
    now = int((datetime(2026, 10, 17, tzinfo=UTC) + timedelta(minutes=minute)).timestamp() * 1000)
    found = frozen(told, now)
    if found is not None and found.until_ms is not None:
        assert found.until_ms > now
        assert frozen(told, found.until_ms) is None
        between = (now + found.until_ms) // 2
        assert (frozen(told, between) or found).until_ms == found.until_ms
        assert frozen(told, found.until_ms - 1) is not None


@pytest.mark.parametrize(
    ("freeze", "said"),
    [
        (Freeze(""), "freeze 1: say why, as its reason"),
        (Freeze("x"), "freeze 1: it never ends: say when it ends"),
        (Freeze("x", starts="2026-12-23"), "freeze 1: it never ends"),
        (Freeze("x", hours="9-17"), "freeze 1: hours are '9-17': write them as 22:00-06:00"),
        (Freeze("x", hours="09:00-09:00"), "freeze 1: hours are 09:00-09:00, which is the whole day"),
        (Freeze("x", ends="2026-02-30"), "freeze 1: ends is '2026-02-30': write it as 2026-12-23"),
        (Freeze("x", starts="2026-12-23", ends="2026-12-23T00:00"), "freeze 1: it ends before it starts"),
        (Freeze("x", weekdays=(Weekday.SAT, Weekday.SAT)), "freeze 1: it names a weekday twice"),
        (Freeze("x", hours="22:00-06:00", zone="../etc"), "freeze 1: '../etc' is no name of a time zone"),
    ],
)
def test_what_cannot_be_taken_is_said_in_a_line(freeze: Freeze, said: str) -> None:
    (found,) = problems(Policy(freezes=(freeze,)))
    assert found.startswith(said)


def test_a_plan_that_is_always_frozen_is_found() -> None:
    said = "its freezes leave no minute of the week in which a deployment could go on: open a window"
    days = Freeze("days", hours="06:00-22:00")
    assert problems(Policy(freezes=(NIGHTS, days))) == [said]
    week = Freeze("week", weekdays=tuple(Weekday)[:5])
    assert problems(Policy(freezes=(week, WEEKENDS))) == [said]
    assert problems(Policy(freezes=(NIGHTS, WEEKENDS, Freeze("noon", hours="06:00-21:59")))) == []


def test_who_freezes_for_weeks_on_end_is_told_no_end() -> None:
    halves = [Freeze("a", hours="00:00-12:00"), Freeze("b", hours="12:00-24:00")]
    assert _at("2026-12-01T12:00", *halves) == "frozen (b; for more than 14 days)"
