"""Which releases stay on a machine's disk (law 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fleetcast.agent.state import ServiceState
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import Digest
from fleetcast.model.kept_releases import kept_releases
from fleetcast.model.limits import RELEASES_SUCCEEDED_KEPT

_HISTORY_MAX = RELEASES_SUCCEEDED_KEPT + 4
"""Enough that, without goal, baseline, active and previous release, ``RELEASES_SUCCEEDED_KEPT`` are left."""


@dataclass(frozen=True, slots=True)
class Surplus:
    """What nobody needs any more."""

    releases: frozenset[Digest] = frozenset()
    incoming: frozenset[Digest] = frozenset()
    roots: frozenset[Digest] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.releases or self.incoming or self.roots)


def kept(goal: Goal, state: ServiceState) -> tuple[ReleaseRef, ...]:
    """The releases that stay, each once: what the goal names, what runs or is being brought up, the one before, and the
    last ``RELEASES_SUCCEEDED_KEPT`` beside these whose deployments succeeded.
    """
    named = [
        goal.target,
        goal.baseline,
        state.active.release if state.active else None,
        state.activation.release if state.activation else None,
        state.previous,
    ]
    return kept_releases(named, state.succeeded)


def surplus(
    goal: Goal, state: ServiceState, releases: Iterable[Digest], incoming: Iterable[Digest], roots: Iterable[Digest]
) -> Surplus:
    """Of what is on disk, what may go. What is half here stays only while the goal itself may ask for it."""
    keep = kept(goal, state)
    asked = {release.digest for release in (goal.target, goal.baseline) if release is not None}
    return Surplus(
        releases=frozenset(releases) - {release.digest for release in keep},
        incoming=frozenset(incoming) - asked,
        roots=frozenset(roots) - {release.root for release in keep},
    )


def learned(state: ServiceState, goal: Goal) -> ServiceState:
    """``state`` with what a goal tells about the past: its baseline is the last release whose deployment succeeded.

    Failures of earlier deployments are forgotten: only the newest one's decide anything.
    """
    succeeded = state.succeeded
    if goal.baseline is not None:
        succeeded = (goal.baseline, *(release for release in succeeded if release != goal.baseline))[:_HISTORY_MAX]
    failures = tuple(failure for failure in state.failures if failure.deployment == goal.deployment)
    if (succeeded, failures) == (state.succeeded, state.failures):
        return state
    return replace(state, succeeded=succeeded, failures=failures)
