"""How far a clock is off, and whether it jumped."""

from __future__ import annotations

import pytest

from fleetcast.model.clocks import ClockWatch, clock_alarm

NOW_MS = 1_700_000_000_000
HOUR_S, DAY_S, YEARS_S = 3600, 86_400, 10 * 365 * 86_400


@pytest.mark.parametrize(
    ("off_s", "text"),
    [
        (61, "about 1 minute ahead"),
        (-HOUR_S, "about 1 hour behind"),
        (DAY_S, "about 1 day ahead"),
        (-YEARS_S, "about 3650 days behind"),
    ],
)
def test_a_clock_that_is_wrong_is_told(off_s: int, text: str) -> None:
    told = clock_alarm("this machine's clock", NOW_MS + off_s * 1000, NOW_MS)
    assert told is not None
    assert told.startswith(f"this machine's clock is {text}: set it right")


def test_one_that_is_near_enough_is_not_and_who_tells_no_time_is_not_believed() -> None:
    assert clock_alarm("it", NOW_MS + 59_000, NOW_MS) is None
    assert clock_alarm("it", NOW_MS, 0) is None


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S, DAY_S, -DAY_S, YEARS_S, -YEARS_S])
def test_a_jump_is_seen_once_and_its_size_is_known(jump_s: int) -> None:
    watch = ClockWatch()
    assert watch.jumped_ms(NOW_MS, 100.0) == 0, "the first look has nothing to compare with"
    assert watch.jumped_ms(NOW_MS + 30_000, 130.0) == 0
    assert watch.jumped_ms(NOW_MS + 60_500 + jump_s * 1000, 160.5) == jump_s * 1000
    assert watch.jumped_ms(NOW_MS + 90_500 + jump_s * 1000, 190.5) == 0


def test_a_clock_that_is_led_slowly_does_not_jump() -> None:
    watch = ClockWatch()
    watch.jumped_ms(NOW_MS, 0.0)
    assert watch.jumped_ms(NOW_MS + 31_000, 30.0) == 0
