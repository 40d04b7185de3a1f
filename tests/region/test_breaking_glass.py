"""Which release a region goes back to alone, by which goal, and what it takes of control's goals after that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.errors import FleetcastError, NotFound, Refused
from fleetcast.model.generation import Generation
from fleetcast.model.goal import EVERYONE, Cohort, Goal, Limits, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, MachineId, RegionName, ServiceName
from fleetcast.model.limits import REGION_PAST_RELEASES_MAX
from fleetcast.model.machine import Machine, Selector
from fleetcast.region import generations
from fleetcast.region.breaking_glass import Known, chosen, gone_back, only, renewed
from fleetcast.region.past import Past, before, remembered

LETTERS = "abcdef"
EU = RegionName("eu")
NOW_MS = 1_800_000_000_000
LIFETIME_MS = 1000


def release(letter: str) -> ReleaseRef:
    return ReleaseRef(ArtifactName(f"web/{letter * 40}"), Digest(letter * 64), Digest(letter * 64))


A, B, C = map(release, "abc")
GOAL = Goal(
    service=ServiceName("web"),
    environment="production",
    generation=Generation(3, 7),
    deployment=DeploymentId("d1"),
    rollback=False,
    selector=Selector(),
    target=B,
    baseline=A,
    cohorts=(Cohort(Selector(), 1),),
    limits=Limits(max_unavailable=1, max_unavailable_rollback=2),
    expires_at_ms=NOW_MS + LIFETIME_MS,
)


def known(goal: Goal = GOAL, past: Past = (A,), releases: tuple[ReleaseRef, ...] = (A, B)) -> Known:
    return Known(goal, past, releases)


def deployed(past: Past, target: ReleaseRef, baseline: ReleaseRef | None, *, rollback: bool = False) -> Past:
    """What is remembered after a deployment: of its goal while it goes out, and of its goal once it has succeeded."""
    goal = replace(GOAL, target=target, baseline=target if rollback else baseline, rollback=rollback)
    return remembered(remembered(past, goal), replace(goal, baseline=target))


def test_a_deployment_under_way_is_left_for_what_ran_before_it() -> None:
    assert chosen(known(), "") == A


def test_one_that_succeeded_is_left_for_the_one_before() -> None:
    past = deployed(deployed((), A, None), B, A)
    assert chosen(known(replace(GOAL, baseline=B), past), "") == A


def test_the_second_rollback_goes_further_back_and_not_forward_again() -> None:
    past = deployed(deployed(deployed((), A, None), B, A), C, B)
    assert past == (A, B, C)
    back = replace(GOAL, target=B, baseline=B, rollback=True)
    past = remembered(past, back)
    assert before(past, back) == A
    further = gone_back(back, A, DeploymentId("here"), NOW_MS, LIFETIME_MS)
    assert before(remembered(past, further), further) is None


@given(st.lists(st.tuples(st.sampled_from(LETTERS), st.booleans())))
def test_what_is_remembered_is_bounded_each_once_and_told_again_changes_nothing(steps: list[tuple[str, bool]]) -> None:
    past: Past = ()
    for letter, back in steps:
        goal = replace(GOAL, target=release(letter), baseline=release(letter), rollback=back)
        past = remembered(past, goal)
        assert remembered(past, goal) == past
        assert past[-1] == release(letter)
        assert len(set(past)) == len(past) <= REGION_PAST_RELEASES_MAX
        found = before(past, goal)
        assert found is None or (found in past and found != goal.target)


def test_a_service_that_was_removed_has_no_past() -> None:
    assert remembered((A, B), replace(GOAL, removed=True)) == ()
    with pytest.raises(Refused, match="web was removed"):
        chosen(known(replace(GOAL, removed=True)), "")


def test_with_nothing_to_go_back_to_others_that_are_here_are_named() -> None:
    first = replace(GOAL, baseline=None)
    with pytest.raises(Refused, match=f"name one with --to: {C.artifact}, {A.artifact}") as refused:
        chosen(known(first, (), (A, B, C)), "")
    assert refused.value.code == "nothing_earlier"
    with pytest.raises(Refused, match="no other release of it is here"):
        chosen(known(first, (), (B,)), "")


@pytest.mark.parametrize("to", ["c" * 40, "cccc", f"web/{'c' * 40}", f"web@{'c' * 12}"])
def test_a_release_is_named_by_its_artifact_or_the_beginning_of_its_commit(to: str) -> None:
    assert chosen(known(releases=(A, B, C)), to) == C


def test_a_rebuild_is_named_by_its_number_and_the_first_build_by_none() -> None:
    again = replace(C, artifact=ArtifactName(f"{C.artifact}.2"))
    assert chosen(known(releases=(A, B, C, again)), "c" * 40) == C
    assert chosen(known(releases=(A, B, C, again)), again.artifact) == again


@pytest.mark.parametrize(
    ("to", "error", "code"),
    [
        ("d" * 40, NotFound, "not_in_region"),
        ("web/", NotFound, "not_in_region"),
        (B.artifact, Refused, "already_there"),
        ("c", Refused, "several_releases"),
    ],
)
def test_a_release_that_will_not_do_is_refused_in_a_line(to: str, error: type[FleetcastError], code: str) -> None:
    near = replace(C, artifact=ArtifactName(f"web/{'c' * 39}d"))
    with pytest.raises(error) as refused:
        chosen(known(releases=(A, B, C, near)), to)
    assert (refused.value.code, "\n" in refused.value.message) == (code, False)


def test_a_service_of_one_environment_needs_none_named() -> None:
    elsewhere = replace(GOAL, environment="staging")
    assert only([GOAL, replace(GOAL, service=ServiceName("db"))], "web", EU, ()) == GOAL
    with pytest.raises(Refused, match="production, staging"):
        only([elsewhere, GOAL], "web", EU, ())
    with pytest.raises(NotFound, match="no goal for a service api"):
        only([GOAL], "api", EU, ())


def test_an_environment_that_means_nobody_here_need_not_be_told_from_the_one_that_does() -> None:
    removed = replace(GOAL, environment="qa", removed=True)
    far = replace(GOAL, environment="staging", selector=Selector(regions=(RegionName("us"),)))
    assert only([far, GOAL, removed], "web", EU, ()) == GOAL
    assert only([removed], "web", EU, ()) == removed, "and is told that it was removed"


def test_environments_are_told_apart_by_the_machines_there_are() -> None:
    """Most are by labels, and their machines may be in any region."""
    production = replace(GOAL, selector=Selector(labels={"env": "production"}))
    staging = replace(GOAL, environment="staging", selector=Selector(labels={"env": "staging"}))
    goals = (production, staging)
    one, other = (Machine(MachineId(env), EU, labels={"env": env}) for env in ("production", "staging"))
    assert only(goals, "web", EU, (one,)) == production
    assert only(goals, "web", EU, (other,)) == staging
    for several in ((one, other), (), (Machine(MachineId("idle"), EU),)):
        with pytest.raises(Refused, match="web runs here in production, staging: say which"):
            only(goals, "web", EU, several)


@given(st.integers(0, 2 * NOW_MS), st.integers(0, 2**40), st.integers(0, 10**6))
def test_its_goal_is_above_whatever_control_has_written_and_may_still_write_in_that_epoch(
    epoch: int, counter: int, renewals: int
) -> None:
    goal = replace(GOAL, generation=Generation(epoch, counter))
    mine = gone_back(goal, A, DeploymentId("here"), NOW_MS, LIFETIME_MS)
    theirs = replace(goal, generation=Generation(epoch, counter + renewals))
    assert generations.judge(goal, mine).verdict is generations.Verdict.TAKE
    assert generations.judge(mine, theirs).verdict is generations.Verdict.REFUSE


@given(st.text("abc123", min_size=1, max_size=8), st.sampled_from([None, A, B]))
def test_every_machine_runs_its_release_and_nothing_is_to_be_had_from_anybody(machine: str, running: ReleaseRef | None) -> None:
    mine = gone_back(GOAL, A, DeploymentId("here"), NOW_MS, LIFETIME_MS)
    assert mine.release_for(Machine(MachineId(machine), RegionName("eu")), running) == A
    assert (mine.target, mine.baseline, mine.rollback) == (A, A, True)
    assert mine.cohorts[0].threshold == EVERYONE
    assert (mine.selector, mine.limits) == (GOAL.selector, GOAL.limits)


@given(st.integers(NOW_MS - 10 * LIFETIME_MS, NOW_MS + 10 * LIFETIME_MS))
def test_it_is_renewed_in_its_epoch_before_it_expires_and_after(now_ms: int) -> None:
    longer = renewed(GOAL, now_ms, LIFETIME_MS)
    if longer is None:
        assert not GOAL.expired(now_ms)
    else:
        assert longer.generation == GOAL.generation.next()
        assert longer == replace(GOAL, generation=longer.generation, expires_at_ms=now_ms + LIFETIME_MS)
        assert not longer.expired(now_ms)


def test_it_is_not_renewed_all_the_time(make_goal: Callable[..., Goal]) -> None:
    assert renewed(make_goal(), NOW_MS, LIFETIME_MS) is None
