"""Where a deployment stands, and what it says it waits for."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.build import BuildStatus
from fleetcast.model.deployment import DEPLOYMENT_TRANSITIONS, DeploymentState
from fleetcast.model.generation import Generation
from fleetcast.model.ids import BuildId, MachineId, RegionName
from fleetcast.model.limits import MACHINE_SILENCE_S_MAX
from fleetcast.model.plan import Policy
from fleetcast.model.report import CohortCounts, NamedFailure
from fleetcast.rollouts.gate import BuildFacts, Facts, GateLimits, RegionFacts, next_step

LIMITS = GateLimits(replicate_s_max=60, distribute_s_max=60)
UNFINISHED = sorted(DEPLOYMENT_TRANSITIONS)

counts = st.integers(0, 4)
told = st.none() | st.builds(CohortCounts, st.just(Generation(0, 1)), counts, counts, counts, counts, counts, st.booleans())
region_facts = st.builds(
    RegionFacts,
    st.sampled_from("abc").map(RegionName),
    expected=st.integers(1, 4),
    active=counts,
    failed=counts,
    cohort=told,
    silent=counts,
    report_age_s=st.sampled_from([0.0, 300.0, math.inf]),
)
percents = st.integers(0, 99)
facts = st.builds(
    Facts,
    state=st.sampled_from(UNFINISHED),
    sequence=st.integers(1, 3),
    goal_sequence=st.integers(0, 3),
    build=st.none()
    | st.builds(BuildFacts, st.just(BuildId(1)), st.sampled_from(BuildStatus), st.just("why"), st.just(1), st.just("w1")),
    built=st.booleans(),
    built_at_ms=st.integers(0, 200_000),
    deployable=st.booleans(),
    going_back=st.booleans(),
    replicas_waiting_for=st.sampled_from(["", "eu: PENDING"]),
    goal_at_ms=st.integers(0, 200_000),
    regions=st.lists(region_facts, max_size=3).map(tuple),
    rollback=st.booleans(),
    policy=st.builds(Policy, failed_percent=percents, unreachable_percent=percents),
)


def _distributing(*regions: RegionFacts, silent: tuple[str, ...] = (), rollback: bool = False) -> Facts:
    return Facts(
        rollback=rollback,
        state=DeploymentState.DISTRIBUTING,
        sequence=2,
        goal_sequence=2,
        build=None,
        built=True,
        built_at_ms=0,
        deployable=True,
        replicas_waiting_for="",
        goal_at_ms=0,
        regions=regions,
        silent=tuple(MachineId(name) for name in silent),
    )


def _region(
    name: str, expected: int, active: int = 0, failed: tuple[str, ...] = (), waiting: tuple[str, ...] = ()
) -> RegionFacts:
    return RegionFacts(
        RegionName(name),
        expected,
        active,
        len(failed),
        tuple(NamedFailure(MachineId(one), "sick") for one in failed),
        tuple(NamedFailure(MachineId(one), "fetching") for one in waiting),
    )


@given(facts, st.integers(0, 300_000))
def test_every_step_is_legal_and_says_why(one: Facts, now_ms: int) -> None:
    step = next_step(one, LIMITS, now_ms)
    assert step.state is one.state or step.state in DEPLOYMENT_TRANSITIONS[one.state]
    assert step.reason


@given(facts, st.integers(0, 300_000))
def test_an_older_trigger_never_gets_past_a_newer_one(one: Facts, now_ms: int) -> None:
    if one.goal_sequence > one.sequence:
        assert next_step(one, LIMITS, now_ms).state is DeploymentState.SUPERSEDED


@given(facts, st.integers(0, 300_000))
def test_success_needs_every_machine_that_answers_within_the_budgets(one: Facts, now_ms: int) -> None:
    if next_step(one, LIMITS, now_ms).state is not DeploymentState.SUCCEEDED:
        return
    total = sum(region.expected for region in one.regions)
    active = sum(min(region.active, region.expected) for region in one.regions)
    failed, unreachable = (sum(getattr(region, what) for region in one.regions) for what in ("failed", "unreachable"))
    assert active
    assert failed * 100 <= total * one.policy.failed_percent
    assert active + failed + unreachable >= total
    assert one.rollback or unreachable * 100 <= total * one.policy.unreachable_percent


@given(facts, st.integers(0, 300_000))
def test_nothing_is_concluded_about_the_machines_of_a_region_that_says_nothing_or_listens_only_now(
    one: Facts, now_ms: int
) -> None:
    away = [region for region in one.regions if region.gathering or region.report_age_s > MACHINE_SILENCE_S_MAX]
    if next_step(one, LIMITS, now_ms).state is DeploymentState.SUCCEEDED:
        assert all(region.active + region.failed >= region.expected for region in away)


@given(facts)
def test_every_wait_for_regions_and_machines_ends(one: Facts) -> None:
    """Law 11. A wait for a build ends with the build, whose bounds are the queue's."""
    if one.state is not DeploymentState.BUILDING:
        assert next_step(one, LIMITS, 10**9).state is not one.state


@given(facts, st.integers(0, 300_000), st.integers(0, 300_000))
def test_waiting_longer_never_brings_failure_back(one: Facts, now_ms: int, more_ms: int) -> None:
    if next_step(one, LIMITS, now_ms).state is DeploymentState.FAILED:
        assert next_step(one, LIMITS, now_ms + more_ms).state is DeploymentState.FAILED


@pytest.mark.parametrize("state", [state for state in DeploymentState if state.ended])
def test_what_has_ended_takes_no_step(state: DeploymentState) -> None:
    with pytest.raises(ValueError, match="takes no step"):
        next_step(dataclasses.replace(_distributing(), state=state), LIMITS, 0)


@pytest.mark.parametrize("now_ms", [0, 10**9])
def test_a_rollback_to_what_was_a_release_waits_for_no_bucket(now_ms: int) -> None:
    waiting = dataclasses.replace(
        _distributing(),
        state=DeploymentState.REPLICATING,
        goal_sequence=1,
        deployable=False,
        replicas_waiting_for="eu: PENDING",
    )
    assert next_step(waiting, LIMITS, 0).state is DeploymentState.REPLICATING
    back = dataclasses.replace(waiting, going_back=True)
    assert next_step(back, LIMITS, now_ms).state is DeploymentState.DISTRIBUTING


def test_in_line_it_waits_however_ready_it_is() -> None:
    ready = dataclasses.replace(_distributing(), state=DeploymentState.REPLICATING, goal_sequence=1)
    assert next_step(ready, LIMITS, 10**9).state is DeploymentState.DISTRIBUTING
    step = next_step(dataclasses.replace(ready, ahead="deployment d1, which is DISTRIBUTING"), LIMITS, 10**9)
    assert (step.state, step.reason) == (
        DeploymentState.REPLICATING,
        "in line behind deployment d1, which is DISTRIBUTING",
    )


def test_it_says_which_region_it_waits_for() -> None:
    step = next_step(_distributing(_region("eu-west", 4, 3), _region("us-east", 2, 2)), LIMITS, 1000)
    assert (step.state, step.reason) == (DeploymentState.DISTRIBUTING, "waiting for eu-west: 3 of 4 machines active")


def test_one_failure_is_not_the_end_while_others_are_on_their_way() -> None:
    step = next_step(_distributing(_region("eu", 4, 2, failed=("m3",))), LIMITS, 1000)
    assert (step.state, step.reason) == (DeploymentState.DISTRIBUTING, "waiting for eu: 2 of 4 machines active, 1 failed")


def test_all_in_and_one_failed_is_failure() -> None:
    step = next_step(_distributing(_region("eu", 3, 2, failed=("m3",)), _region("us", 1, 1)), LIMITS, 1000)
    assert (step.state, step.reason) == (DeploymentState.FAILED, "1 of 4 machines failed, none may: m3: sick")


def _fleet(active: int, failed: tuple[str, ...] = (), unreachable: int = 0) -> RegionFacts:
    """Of twenty machines those that are none of these are on the way."""
    return dataclasses.replace(_region("eu", 20, active, failed=failed), silent=unreachable)


def test_the_unreachable_have_a_budget_and_hold_up_nobody_within_it() -> None:
    step = next_step(_distributing(_fleet(19, unreachable=1)), LIMITS, 1000)
    assert (step.state, step.reason) == (DeploymentState.SUCCEEDED, "19 of 20 machines active, 1 unreachable")
    waits = next_step(_distributing(_fleet(18, unreachable=1)), LIMITS, 1000)
    assert (waits.state, waits.reason) == (
        DeploymentState.DISTRIBUTING,
        "waiting for eu: 18 of 20 machines active, 1 unreachable",
    )


def test_beyond_their_budget_they_are_waited_for_and_not_for_ever() -> None:
    beyond = _distributing(_fleet(18, unreachable=2), silent=("m7", "m8"))
    step = next_step(beyond, LIMITS, 1000)
    assert (step.state, step.reason) == (
        DeploymentState.DISTRIBUTING,
        "waiting for machines that say nothing: 2 of 20 are unreachable, at most 1 may be",
    )
    step = next_step(beyond, LIMITS, 60_001)
    assert (step.state, step.reason) == (
        DeploymentState.FAILED,
        "not on every machine within 60 s: eu: 18 of 20 machines active, 2 unreachable: m7, m8: silent",
    )


def test_a_rollback_is_over_when_everybody_is_back_who_can_be_reached() -> None:
    half = _fleet(10, unreachable=10)
    step = next_step(_distributing(half, rollback=True), LIMITS, 1000)
    assert (step.state, step.reason) == (DeploymentState.SUCCEEDED, "10 of 20 machines active, 10 unreachable")
    nobody = next_step(_distributing(_fleet(0, unreachable=20), rollback=True), LIMITS, 1000)
    assert (nobody.state, nobody.reason) == (DeploymentState.DISTRIBUTING, "waiting for a machine that answers")


def test_a_region_that_says_nothing_is_no_unreachable_machine() -> None:
    away = dataclasses.replace(_fleet(10, unreachable=10), report_age_s=MACHINE_SILENCE_S_MAX + 1)
    step = next_step(_distributing(away, rollback=True), LIMITS, 1000)
    assert (step.state, step.reason) == (DeploymentState.DISTRIBUTING, "waiting for eu: 10 of 20 machines active")


def test_who_was_not_heard_of_by_a_region_that_has_just_started_is_no_unreachable_machine() -> None:
    counted = CohortCounts(Generation(0, 1), 10, 10, 0, 0, silent=0, gathering=True)
    started = dataclasses.replace(_fleet(10, unreachable=10), cohort=counted)
    step = next_step(_distributing(started, _region("us", 1, 1), rollback=True), LIMITS, 1000)
    assert (step.state, step.reason) == (
        DeploymentState.DISTRIBUTING,
        "waiting for eu: 10 of 20 machines active (its process has just started: the others may be on their way to it)",
    )


def test_what_a_region_knows_to_be_silent_counts_before_the_inventory_has_noticed() -> None:
    counted = CohortCounts(Generation(0, 1), 20, 19, 0, 0, silent=1)
    step = next_step(_distributing(dataclasses.replace(_fleet(19), cohort=counted)), LIMITS, 1000)
    assert step.state is DeploymentState.SUCCEEDED


def test_of_many_machines_some_may_fail() -> None:
    step = next_step(_distributing(_fleet(19, failed=("m3",))), LIMITS, 1000)
    assert (step.state, step.reason) == (DeploymentState.SUCCEEDED, "19 of 20 machines active, 1 failed")
    step = next_step(_distributing(_fleet(18, failed=("m3", "m4"))), LIMITS, 1000)
    assert (step.state, step.reason) == (DeploymentState.FAILED, "2 of 20 machines failed, at most 1 may: m3, m4: sick")


def test_a_small_region_that_fails_is_not_outvoted_by_a_large_one() -> None:
    step = next_step(_distributing(_region("eu", 98, 98), _region("us", 2, 0, failed=("u1", "u2"))), LIMITS, 1000)
    assert (step.state, step.reason) == (
        DeploymentState.FAILED,
        "2 of 2 machines failed in us, at most 1 may: u1, u2: sick",
    )


def test_the_last_machine_in_time_counts_even_when_the_look_is_late() -> None:
    assert next_step(_distributing(_region("eu", 1, 1)), LIMITS, 10**9).state is DeploymentState.SUCCEEDED


def test_too_late_names_the_silent_the_waiting_and_the_failed() -> None:
    late = _distributing(_region("eu", 4, 1, failed=("m2",), waiting=("m3",)), silent=("m4",))
    step = next_step(late, LIMITS, 60_001)
    assert step.state is DeploymentState.FAILED
    assert step.reason == (
        "not on every machine within 60 s: eu: 1 of 4 machines active, 1 failed: m4: silent; m3: fetching; m2: sick"
    )


def test_a_long_list_is_cut_and_counted() -> None:
    names = tuple(f"m{number}" for number in range(8))
    step = next_step(_distributing(_region("eu", 9, 1, failed=names)), LIMITS, 1000)
    assert step.reason == ("8 of 9 machines failed, none may: m0, m1, m2, m3, m4: sick; and 3 more")


def test_nobody_is_not_everybody() -> None:
    assert next_step(_distributing(), LIMITS, 1000).reason == "waiting for a machine that the service selects"
    assert next_step(_distributing(), LIMITS, 60_001).state is DeploymentState.FAILED
