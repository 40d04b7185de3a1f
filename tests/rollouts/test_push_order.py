"""Pushes that come late, twice and in any order."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.ids import CommitSha
from fleetcast.model.limits import PASSED_HEADS_MAX
from fleetcast.model.push import Push
from fleetcast.rollouts.push_order import Head, Verdict, judge, remembered


def _push(before: str, after: str, at_ms: int | None = None) -> Push:
    return Push(("https://h/r",), "main", CommitSha(after), before, at_ms)


def _heard(pushes: list[Push]) -> tuple[Head | None, list[str]]:
    """What is known in the end, and what was triggered."""
    known: Head | None = None
    triggered: list[str] = []
    for push in pushes:
        verdict = judge(known, push)
        known = remembered(known, push, verdict)
        if verdict is Verdict.NEWS:
            triggered.append(push.head)
    return known, triggered


def test_pushes_in_order_trigger_each() -> None:
    assert _heard([_push("0", "a"), _push("a", "b"), _push("b", "c")])[1] == ["a", "b", "c"]


def test_a_branch_may_go_back_to_where_it_was() -> None:
    assert _heard([_push("a", "b"), _push("b", "a"), _push("a", "b")])[1] == ["b", "a", "b"]
    # Also in the same second.
    assert _heard([_push("a", "b", 1), _push("b", "a", 1), _push("a", "b", 1)])[1] == ["b", "a", "b"]


def test_what_was_overtaken_triggers_nothing_even_without_times() -> None:
    assert _heard([_push("c", "d"), _push("b", "c"), _push("a", "b")])[1] == ["d"]
    assert _heard([_push("a", "b"), _push("b", "c"), _push("a", "b")])[1] == ["b", "c"]


def test_a_branch_goes_back_also_when_a_push_in_between_was_never_heard_of() -> None:
    assert _heard([_push("a", "b", 1), _push("b", "c", 2), _push("d", "b", 4)])[1] == ["b", "c", "b"]


def test_what_is_remembered_is_bounded() -> None:
    known, _ = _heard([_push(f"{number}", f"{number + 1}") for number in range(10 * PASSED_HEADS_MAX)])
    assert known is not None
    assert len(known.passed) == PASSED_HEADS_MAX


def test_with_times_the_newest_push_wins_in_every_order() -> None:
    pushes = [_push("0", "a", 1000), _push("a", "b", 2000), _push("b", "c", 3000), _push("c", "d", 4000)]
    for order in permutations(pushes):
        known, triggered = _heard(list(order))
        assert known is not None
        assert known.sha == triggered[-1] == "d", order


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.none() | st.integers(0, 3)), max_size=12))
def test_the_same_push_again_at_once_triggers_nothing(drawn: list[tuple[str, str, int | None]]) -> None:
    known: Head | None = None
    for before, after, at_ms in drawn:
        push = _push(before, after, at_ms)
        known = remembered(known, push, judge(known, push))
        assert judge(known, push) is not Verdict.NEWS or push.before == known.sha
