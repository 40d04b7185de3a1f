"""Where a deployment stands, and what it says it waits for."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.build import BuildStatus
from fleetcast.model.deployment import DEPLOYMENT_TRANSITIONS, DeploymentState
from fleetcast.model.ids import BuildId, MachineId, RegionName
from fleetcast.model.report import NamedFailure
from fleetcast.rollouts.gate import BuildFacts, Facts, GateLimits, RegionFacts, next_step

LIMITS = GateLimits(replicate_s_max=60, distribute_s_max=60)
UNFINISHED = sorted(DEPLOYMENT_TRANSITIONS)

counts = st.integers(0, 4)
region_facts = st.builds(
    RegionFacts, st.sampled_from("abc").map(RegionName), expected=st.integers(1, 4), active=counts, failed=counts
)
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
)


def _distributing(*regions: RegionFacts, silent: tuple[str, ...] = ()) -> Facts:
    return Facts(
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
def test_success_needs_every_machine(one: Facts, now_ms: int) -> None:
    if next_step(one, LIMITS, now_ms).state is DeploymentState.SUCCEEDED:
        assert one.regions
        assert all(region.active >= region.expected for region in one.regions)


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


def test_it_says_which_region_it_waits_for() -> None:
    step = next_step(_distributing(_region("eu-west", 4, 3), _region("us-east", 2, 2)), LIMITS, 1000)
    assert (step.state, step.reason) == (DeploymentState.DISTRIBUTING, "waiting for eu-west: 3 of 4 machines active")


def test_one_failure_is_not_the_end_while_others_are_on_their_way() -> None:
    step = next_step(_distributing(_region("eu", 4, 2, failed=("m3",))), LIMITS, 1000)
    assert (step.state, step.reason) == (DeploymentState.DISTRIBUTING, "waiting for eu: 2 of 4 machines active, 1 failed")


def test_all_in_and_one_failed_is_failure() -> None:
    step = next_step(_distributing(_region("eu", 3, 2, failed=("m3",)), _region("us", 1, 1)), LIMITS, 1000)
    assert (step.state, step.reason) == (DeploymentState.FAILED, "1 of 4 machines failed: m3: sick")


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
    assert step.reason == ("8 of 9 machines failed: m0, m1, m2, m3, m4: sick; and 3 more")


def test_nobody_is_not_everybody() -> None:
    assert next_step(_distributing(), LIMITS, 1000).reason == "waiting for a machine that the service selects"
    assert next_step(_distributing(), LIMITS, 60_001).state is DeploymentState.FAILED
