"""What goal to write next (pure).

Thresholds of one deployment only grow. The generation is the caller's: the one after the last that was written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from fleetcast.model.generation import Generation
from fleetcast.model.goal import EVERYONE, NOBODY, Cohort, Goal, Limits, ReleaseRef
from fleetcast.model.ids import DeploymentId, ServiceName
from fleetcast.model.machine import Selector
from fleetcast.rollouts.cohorts import grown


@dataclass(frozen=True, slots=True)
class Order:
    """A deployment whose release is deployable, and what it may do."""

    deployment: DeploymentId
    service: ServiceName
    environment: str
    rollback: bool
    selector: Selector
    target: ReleaseRef
    limits: Limits


ALL: Final = (Cohort(Selector(), EVERYONE),)
"""The cohorts of a plan without waves: all machines at once."""


def plan(
    order: Order,
    generation: Generation,
    previous: Goal | None,
    baseline: ReleaseRef | None,
    expires_at_ms: int,
    cohorts: tuple[Cohort, ...] = ALL,
) -> Goal:
    """The goal that carries out ``order``: its first, or, when ``previous`` is of the same deployment, its next.

    ``baseline`` is the last release whose deployment succeeded and was not rolled back; a rollback's is its target.
    ``cohorts``: who may activate.
    """
    if previous is not None and previous.deployment == order.deployment:
        cohorts = grown(previous.cohorts, cohorts)
    return Goal(
        service=order.service,
        environment=order.environment,
        generation=generation,
        deployment=order.deployment,
        rollback=order.rollback,
        selector=order.selector,
        target=order.target,
        baseline=order.target if order.rollback else baseline,
        cohorts=cohorts,
        limits=order.limits,
        expires_at_ms=expires_at_ms,
    )


def widened(goal: Goal, cohorts: tuple[Cohort, ...], generation: Generation, expires_at_ms: int) -> Goal:
    """The goal of the next wave: whoever was let in stays so."""
    return replace(goal, generation=generation, cohorts=grown(goal.cohorts, cohorts), expires_at_ms=expires_at_ms)


def shutting_out(goal: Goal, out: tuple[Cohort, ...], generation: Generation) -> Goal:
    """The same with these cohorts that shut out, and no others: whom waves let in beside them stays so."""
    let_in = tuple(cohort for cohort in goal.cohorts if cohort.threshold != NOBODY)
    return replace(goal, generation=generation, cohorts=(*out, *let_in))


def tried_again(goal: Goal, generation: Generation) -> Goal:
    """The same, and from it on machines that failed the deployment try once more."""
    return replace(goal, generation=generation, again=generation)


def succeeded(goal: Goal, generation: Generation, expires_at_ms: int) -> Goal:
    """Everybody is there: from now on an empty machine takes the target at once."""
    return replace(goal, generation=generation, baseline=goal.target, expires_at_ms=expires_at_ms)


def renewed(goal: Goal, generation: Generation, expires_at_ms: int) -> Goal:
    """The same goal, good for longer. A renewal is a write like any other."""
    return replace(goal, generation=generation, expires_at_ms=expires_at_ms)


def removed(goal: Goal, generation: Generation, expires_at_ms: int) -> Goal:
    """The tombstone: no machine runs the service any more. For every machine, as one that the last deployment did not select
    (it was relabelled since) may still run it."""
    return replace(goal, generation=generation, selector=Selector(), removed=True, expires_at_ms=expires_at_ms)


def halted(goal: Goal, generation: Generation, expires_at_ms: int) -> Goal:
    """The goal of an aborted deployment: no wave at all, so every machine keeps what it runs and an empty one takes the
    baseline. Thresholds are taken away, never lowered."""
    return replace(goal, generation=generation, cohorts=(), expires_at_ms=expires_at_ms)
