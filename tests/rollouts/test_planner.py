"""Goals: what is written, and that it only grows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, Limits, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, MachineId, RegionName, ServiceName
from fleetcast.model.machine import Machine, Selector
from fleetcast.rollouts.planner import Order, halted, plan, renewed, succeeded

machines = st.builds(Machine, st.sampled_from("abcdef").map(MachineId), st.sampled_from(["eu", "us"]).map(RegionName))


def _release(letter: str) -> ReleaseRef:
    return ReleaseRef(ArtifactName(f"web/{letter}"), Digest(letter * 64), Digest(letter * 64))


A, B = _release("a"), _release("b")


def _order(*, rollback: bool = False) -> Order:
    return Order(DeploymentId("d1"), ServiceName("web"), "production", rollback, Selector(), B, Limits(max_unavailable=2))


def _goal(*, rollback: bool = False, baseline: ReleaseRef | None = A) -> Goal:
    return plan(_order(rollback=rollback), Generation(0, 1), None, baseline, expires_at_ms=1000)


@given(machines)
def test_everybody_is_in_the_only_wave(machine: Machine) -> None:
    goal = _goal()
    assert goal.release_for(machine, running=A) == B
    assert goal.release_for(machine, running=None) == B
    assert _goal(baseline=None).release_for(machine, running=None) == B


def test_a_goal_says_what_was_ordered() -> None:
    goal = _goal()
    assert (goal.target, goal.baseline, goal.rollback, goal.limits.max_unavailable) == (B, A, False, 2)
    assert goal.expires_at_ms == 1000


def test_a_rollbacks_baseline_is_its_target() -> None:
    assert _goal(rollback=True).baseline == B


def test_after_success_the_target_is_the_baseline() -> None:
    done = succeeded(_goal(), Generation(0, 2), 2000)
    assert (done.baseline, done.target, done.cohorts) == (B, B, _goal().cohorts)


def test_a_renewal_changes_nothing_but_generation_and_expiry() -> None:
    again = renewed(_goal(), Generation(0, 2), 5000)
    assert renewed(again, Generation(0, 1), 1000) == _goal()


@given(machines, st.sampled_from([None, A, B]))
def test_after_an_abort_machines_keep_what_they_run_and_empty_ones_take_the_baseline(
    machine: Machine, running: ReleaseRef | None
) -> None:
    assert halted(_goal(), Generation(0, 2), 1000).release_for(machine, running) == (running or A)


def test_planning_the_same_deployment_again_takes_nobody_out() -> None:
    first = _goal()
    again = plan(_order(), Generation(0, 2), first, A, 2000)
    assert again.cohorts == first.cohorts
