"""Law 3: a region never goes back to a goal it has passed, and never takes two goals for one generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal
from fleetcast.region.generations import Verdict, judge

MakeGoal = Callable[..., Goal]
generations = st.builds(Generation, st.integers(0, 3), st.integers(0, 3))


def test_the_first_goal_is_taken(make_goal: MakeGoal) -> None:
    assert judge(None, make_goal()).verdict is Verdict.TAKE


def test_the_same_again_is_known(make_goal: MakeGoal) -> None:
    assert judge(make_goal(), make_goal()).verdict is Verdict.KNOWN


def test_a_lower_one_is_refused_with_both_generations_named(make_goal: MakeGoal) -> None:
    judgement = judge(make_goal(generation=Generation(1, 2)), make_goal(generation=Generation(0, 9)))
    assert judgement.verdict is Verdict.REFUSE
    assert "0.9" in judgement.reason
    assert "1.2" in judgement.reason


def test_other_content_of_one_generation_is_a_contradiction(make_goal: MakeGoal) -> None:
    other = replace(make_goal(), expires_at_ms=make_goal().expires_at_ms + 1)
    judgement = judge(make_goal(), other)
    assert judgement.verdict is Verdict.CONTRADICTION
    assert "other content" in judgement.reason


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(generations, min_size=1))
def test_whatever_is_offered_the_held_generation_never_falls(make_goal: MakeGoal, offered: list[Generation]) -> None:
    held: Goal | None = None
    for generation in offered:
        goal = make_goal(generation=generation)
        if judge(held, goal).verdict is Verdict.TAKE:
            assert held is None or goal.generation > held.generation
            held = goal
    assert held is not None
    assert held.generation == max(offered)
