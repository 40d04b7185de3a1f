"""Which releases stay on a machine's disk (law 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from fleetcast.agent.state import ServiceState
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import Digest
from fleetcast.model.kept_releases import kept_releases
from fleetcast.model.limits import RELEASES_MORE, RELEASES_MORE_BYTES, RELEASES_MORE_DAYS, RELEASES_SUCCEEDED_KEPT

_HISTORY_MAX = RELEASES_SUCCEEDED_KEPT + 4
"""Enough that, without goal, baseline, active and previous release, ``RELEASES_SUCCEEDED_KEPT`` are left."""
_DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class KeepMore:
    """What a machine may keep of a service beside what it needs: the newest, within all three."""

    releases: int = RELEASES_MORE
    days: int = RELEASES_MORE_DAYS
    """Since they were fetched."""
    bytes: int = RELEASES_MORE_BYTES
    """On the disk, of these alone."""


@dataclass(frozen=True, slots=True)
class Held:
    """A whole release on the disk."""

    bytes: int
    """That it takes up there. Releases share nothing: each is a copy of its own."""
    since_ms: int
    """When it was fetched, UTC by this machine's clock."""
    roots: frozenset[Digest] = frozenset()
    """Signed roots that name it."""


@dataclass(frozen=True, slots=True)
class Spare:
    """What is asked about releases that nobody needs."""

    keep: KeepMore = field(default_factory=KeepMore)
    held: Mapping[Digest, Held] = field(default_factory=dict)
    now_ms: int = 0
    """By the clock of ``held``."""
    short_bytes: int = 0
    """So much of the disk should be given back, if it can be."""


NOTHING_MORE: Final = Spare(KeepMore(releases=0))


@dataclass(frozen=True, slots=True)
class Surplus:
    """What nobody needs any more."""

    releases: frozenset[Digest] = frozenset()
    incoming: frozenset[Digest] = frozenset()
    roots: frozenset[Digest] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.releases or self.incoming or self.roots)


def kept(goal: Goal, state: ServiceState) -> tuple[ReleaseRef, ...]:
    """The releases that are needed, each once: what the goal names, what runs or is being brought up, the one before, and the
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
    goal: Goal,
    state: ServiceState,
    releases: Iterable[Digest],
    incoming: Iterable[Digest],
    roots: Iterable[Digest],
    spare: Spare = NOTHING_MORE,
) -> Surplus:
    """Of what is on disk, what may go. What is half here stays only while the goal itself may ask for it; of what nobody needs,
    the newest stay as far as ``spare`` allows.
    """
    keep, whole = kept(goal, state), frozenset(releases)
    needed = {release.digest for release in keep} | set(goal.pinned)
    more = _more(whole - needed, spare)
    asked = {release.digest for release in (goal.target, goal.baseline) if release is not None}
    named = {root for digest in (*goal.pinned, *more) if digest in spare.held for root in spare.held[digest].roots}
    return Surplus(
        releases=whole - needed - more,
        incoming=frozenset(incoming) - asked,
        roots=frozenset(roots) - {release.root for release in keep} - named,
    )


def _more(unneeded: Iterable[Digest], spare: Spare) -> frozenset[Digest]:
    """Of releases that nobody needs, those that stay all the same. When the disk is short the oldest of them go."""
    keep, held = spare.keep, spare.held
    newest = sorted((digest for digest in unneeded if digest in held), key=lambda one: (-held[one].since_ms, one))
    more: list[Digest] = []
    total = 0
    for digest in newest[: keep.releases]:
        total += held[digest].bytes
        if total > keep.bytes or spare.now_ms - held[digest].since_ms > keep.days * _DAY_MS:
            break
        more.append(digest)
    short_bytes = spare.short_bytes - sum(held[digest].bytes for digest in newest if digest not in more)
    while more and short_bytes > 0:
        short_bytes -= held[more.pop()].bytes
    return frozenset(more)


def learned(state: ServiceState, goal: Goal) -> ServiceState:
    """``state`` with what a goal tells about the past: its baseline is the last release whose deployment succeeded.

    Failures of earlier deployments are forgotten: only the newest one's decide anything. Those too, once, when somebody has had
    it tried again.
    """
    succeeded = state.succeeded
    if goal.baseline is not None:
        succeeded = (goal.baseline, *(release for release in succeeded if release != goal.baseline))[:_HISTORY_MAX]
    failures = tuple(failure for failure in state.failures if failure.deployment == goal.deployment)
    if goal.again is not None and goal.again != state.again:
        failures = ()
    if (succeeded, failures, goal.again) == (state.succeeded, state.failures, state.again):
        return state
    return replace(state, succeeded=succeeded, failures=failures, again=goal.again)
