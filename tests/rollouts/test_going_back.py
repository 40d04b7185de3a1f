"""Which release a rollback goes back to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.ids import CommitSha, DeploymentId, Digest
from fleetcast.rollouts.going_back import Past, back_to

S = DeploymentState.SUCCEEDED


def _past(sequence: int, release: str, state: DeploymentState = S, *, rolled_back: bool = False) -> Past:
    return Past(DeploymentId(f"d{sequence}"), sequence, state, rolled_back, CommitSha(release * 40), Digest(release * 64))


pasts = st.builds(
    _past,
    st.integers(1, 20),
    st.sampled_from("abc"),
    st.sampled_from([state for state in DeploymentState if state.ended]),
    rolled_back=st.booleans(),
)


def _sequence(history: list[Past], current: Past, to: str | None = None) -> int | None:
    chosen = back_to(history, current, None if to is None else CommitSha(to * 40))
    return None if chosen is None else chosen.sequence


def test_the_newest_earlier_one_that_succeeded() -> None:
    history = [_past(1, "a"), _past(2, "b"), _past(3, "c", DeploymentState.SUPERSEDED)]
    assert _sequence(history, _past(4, "d", DeploymentState.DISTRIBUTING)) == 2


def test_not_the_one_that_runs_already() -> None:
    history = [_past(1, "a"), _past(2, "b"), _past(3, "b")]
    assert _sequence(history, history[2]) == 1


def test_not_one_that_was_rolled_back_unless_it_is_named() -> None:
    history = [_past(1, "a"), _past(2, "b", rolled_back=True), _past(3, "c")]
    assert _sequence(history, history[2]) == 1
    assert _sequence(history, history[2], "b") == 2


def test_a_named_one_must_have_succeeded_once() -> None:
    history = [_past(1, "a"), _past(2, "b", DeploymentState.FAILED), _past(3, "c")]
    assert _sequence(history, history[2], "b") is None
    assert _sequence(history, history[2], "x") is None


def test_nothing_before_the_first() -> None:
    assert _sequence([_past(1, "a")], _past(1, "a")) is None


@given(st.lists(pasts, max_size=8, unique_by=lambda past: past.sequence), pasts)
def test_by_default_it_is_earlier_good_and_something_else_and_none_is_newer(history: list[Past], current: Past) -> None:
    chosen = back_to(history, current, None)
    good = [one for one in history if one.state is S and not one.rolled_back and one.root != current.root]
    earlier = [one for one in good if one.sequence < current.sequence]
    assert (chosen is None) == (not earlier)
    if chosen is not None:
        assert chosen in earlier
        assert all(one.sequence <= chosen.sequence for one in earlier)
