"""How many workers the queue wants."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.builds.scaling import Load, wanted

loads = st.builds(
    Load,
    running=st.integers(0, 50),
    ready=st.integers(0, 50),
    held_up=st.integers(0, 50),
    idle=st.integers(0, 50),
    oldest_ready_s=st.floats(0, 1e6),
)


def test_a_slot_for_everything_that_runs_or_could() -> None:
    said = wanted(Load(running=3, ready=2, held_up=0, idle=0, oldest_ready_s=41.7))
    assert said.workers == 5
    assert said.why == "3 running, 2 could run (the longest wait is 42 s), 2 slots are missing"


def test_no_worker_is_wanted_for_what_no_worker_can_change() -> None:
    said = wanted(Load(running=2, ready=0, held_up=7, idle=1, oldest_ready_s=0))
    assert said.workers == 2
    assert said.why == "2 running, 7 held up by a bound or until a next attempt, which no worker changes, 1 idle and not needed"


@given(loads)
def test_what_runs_keeps_its_slot_and_no_slot_is_wanted_for_nothing(load: Load) -> None:
    said = wanted(load)
    assert load.running <= said.workers <= load.running + load.ready
    assert (said.workers == 0) == (load.running + load.ready == 0)
