"""When a process that ended is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.launch.restarts import Restarts, after_end
from fleetcast.model.limits import PROCESS_RESTART_S_MAX, PROCESS_RESTART_S_MIN, PROCESS_STEADY_S


def test_a_process_that_was_never_ready_is_given_up() -> None:
    assert after_end(Restarts(), 5.0).delay_s is None


@given(st.lists(st.floats(0, 200), min_size=1, max_size=50))
def test_one_that_was_ready_always_comes_back_within_the_bound(lives_s: list[float]) -> None:
    state = Restarts(was_ready=True)
    for lived_s in lives_s:
        decision = after_end(state, lived_s)
        assert decision.delay_s is not None
        assert PROCESS_RESTART_S_MIN <= decision.delay_s <= PROCESS_RESTART_S_MAX
        state = decision.after


def test_delays_double_and_a_steady_life_forgives() -> None:
    state, delays = Restarts(was_ready=True), []
    for lived_s in (1.0, 1.0, 1.0, PROCESS_STEADY_S, 1.0):
        decision = after_end(state, lived_s)
        state = decision.after
        delays.append(decision.delay_s)
    assert delays == [0.5, 1.0, 2.0, 0.5, 1.0]
