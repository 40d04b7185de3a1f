"""Lengths of time in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.spans import at_most, span

_UNITS = {"s": 1, "min": 60, "h": 3600, "days": 86_400}


def _seconds(text: str) -> int:
    count, unit = text.split()
    return int(count) * _UNITS[unit]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (0.2, "1 s"),
        (180, "180 s"),
        (181, "4 min"),
        (1800, "30 min"),
        (3900, "65 min"),
        (90000, "25 h"),
    ],
)
def test_a_bound_is_rounded_up(seconds: float, said: str) -> None:
    assert at_most(seconds) == said


@given(st.floats(0, 10**7))
def test_a_bound_in_words_is_none_that_is_missed(seconds: float) -> None:
    told = _seconds(at_most(seconds))
    assert seconds <= told <= seconds * 4 / 3 + 1
    assert _seconds(span(seconds).replace("1 day", "1 days").replace("dayss", "days")) <= seconds
