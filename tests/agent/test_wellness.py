"""When a service counts as well, and when no more."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.agent.wellness import Standing, Wellness, after, well

ATTEMPTS = st.lists(st.booleans(), max_size=40)
THRESHOLDS = st.integers(1, 5)


def told(start: Wellness, attempts: Sequence[bool], threshold: int, deadline_ms: int = 10**9) -> list[Wellness]:
    """How it stands after each attempt, one every millisecond."""
    stands = [start]
    for number, passed in enumerate(attempts, 1):
        wrong = "" if passed else f"no {number}"
        stands.append(after(stands[-1], wrong, number, threshold=threshold, deadline_ms=deadline_ms))
    return stands


def in_a_row(attempts: Sequence[bool], passed: bool, count: int) -> bool:
    return len(attempts) >= count and all(each is passed for each in attempts[-count:])


@given(ATTEMPTS, THRESHOLDS)
def test_it_turns_only_after_as_many_attempts_in_a_row_and_then_at_once(attempts: list[bool], threshold: int) -> None:
    stands = told(well(0), attempts, threshold)
    for number in range(1, len(stands)):
        before, now, heard = stands[number - 1].standing, stands[number].standing, attempts[:number]
        if before is Standing.WELL:
            assert (now is Standing.SICK) == in_a_row(heard, False, threshold)
        else:
            assert (now is Standing.WELL) == in_a_row(heard, True, threshold)


@given(ATTEMPTS, THRESHOLDS)
def test_what_comes_up_is_not_sick_before_its_time_is_over(attempts: list[bool], threshold: int) -> None:
    stands = told(Wellness(Standing.RISING), attempts, threshold, deadline_ms=20)
    for number, stand in enumerate(stands[:20]):
        rose = any(each.standing is Standing.WELL for each in stands[:number])
        assert rose or stand.standing is not Standing.SICK


def test_one_failure_among_successes_is_forgotten() -> None:
    assert told(well(0), [False, False, True, False, False, True], 3)[-1].standing is Standing.WELL
    assert told(well(0), [False, False, True, False, False, False], 3)[-1].standing is Standing.SICK


def test_late_is_sick_and_says_why() -> None:
    late = told(Wellness(Standing.RISING), [False] * 5, 1, deadline_ms=5)[-1]
    assert (late.standing, late.wrong) == (Standing.SICK, "no 5")


def test_how_long_it_was_well_ends_with_the_last_attempt_that_passed() -> None:
    sick = told(well(0), [True, True, True, False, False], 2)[-1]
    assert (sick.well_since_ms, sick.well_until_ms) == (0, 3)
