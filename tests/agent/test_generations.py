"""Law 3 on a machine: generations only grow."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.agent.generations import KnownGoal, judge
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, Limits, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, ServiceName
from fleetcast.model.machine import Selector

GENERATIONS = st.builds(Generation, st.integers(0, 2), st.integers(1, 4))


def goal(generation: Generation, *, service: str = "web", deployment: str = "d1") -> Goal:
    ref = ReleaseRef(ArtifactName("web/x"), Digest("a" * 64), Digest("b" * 64))
    return Goal(
        service=ServiceName(service),
        environment="production",
        generation=generation,
        deployment=DeploymentId(deployment),
        rollback=False,
        selector=Selector(),
        target=ref,
        baseline=None,
        cohorts=(),
        limits=Limits(),
        expires_at_ms=0,
    )


@given(st.lists(GENERATIONS, min_size=1))
def test_what_is_in_force_is_the_highest_ever_offered(offered: list[Generation]) -> None:
    known: dict[str, KnownGoal] = {}
    for generation in offered:
        known = judge(known, [goal(generation)]).known
    assert known["production/web"].goal.generation == max(offered)


def test_a_lower_generation_is_refused_without_alarm() -> None:
    newer, older = goal(Generation(1, 2)), goal(Generation(1, 1), deployment="d0")
    judged = judge({"production/web": KnownGoal(newer)}, [older])
    assert judged.known["production/web"] == KnownGoal(newer)
    assert judged.refused == ("goal production/web of generation 1.1 was refused: 1.2 is known here",)
    assert judged.alarms == ()


def test_an_equal_generation_with_other_content_is_refused_and_alarmed() -> None:
    ours, theirs = goal(Generation(1, 2)), goal(Generation(1, 2), deployment="d9")
    judged = judge({"production/web": KnownGoal(ours)}, [theirs])
    assert judged.known["production/web"] == KnownGoal(ours)
    assert judged.refused == ()
    assert "came with other content" in judged.alarms[0]


@pytest.mark.parametrize("service", ["..", "../../etc", "a/b", ""])
def test_a_name_that_would_lead_elsewhere_is_refused_and_alarmed(service: str) -> None:
    judged = judge({}, [goal(Generation(1, 1), service=service), goal(Generation(1, 1))])
    assert list(judged.known) == ["production/web"]
    assert "has such a name" in judged.alarms[0]
    assert not judge({}, [replace(goal(Generation(1, 1)), environment=service)]).known


def test_the_same_goal_again_is_nothing_new() -> None:
    known = {"production/web": KnownGoal(goal(Generation(1, 2)))}
    assert judge(known, [goal(Generation(1, 2))]).known == known


def test_a_goal_that_is_named_no_longer_is_withdrawn_and_its_floor_stays() -> None:
    ours = goal(Generation(1, 2))
    withdrawn = judge({"production/web": KnownGoal(ours)}, [goal(Generation(0, 1), service="other")]).known
    assert withdrawn["production/web"] == KnownGoal(ours, withdrawn=True)
    assert judge(withdrawn, [goal(Generation(1, 1))]).known["production/web"].withdrawn
    assert judge(withdrawn, [ours]).known["production/web"] == KnownGoal(ours)
    renewed = replace(ours, generation=Generation(1, 3))
    assert judge(withdrawn, [renewed]).known["production/web"] == KnownGoal(renewed)
