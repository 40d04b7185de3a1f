"""The releases of a service that succeeded, as a region has seen them go by in goals: what it can go back to alone. Pure."""

from __future__ import annotations

from typing import TypeAlias

from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.limits import REGION_PAST_RELEASES_MAX

Past: TypeAlias = tuple[ReleaseRef, ...]
"""The newest last, each once."""


def remembered(past: Past, goal: Goal) -> Past:
    """``past`` with what a goal tells: its baseline is the last release whose deployment succeeded.

    A rollback takes back what succeeded after the release it goes to, so that the next one goes further back and not forward
    again. A removed service has no past.
    """
    if goal.removed:
        return ()
    release = goal.baseline
    if release is None or past[-1:] == (release,):
        return past
    if goal.rollback and release in past:
        return past[: past.index(release) + 1]
    return (*(each for each in past if each != release), release)[-REGION_PAST_RELEASES_MAX:]


def before(past: Past, goal: Goal) -> ReleaseRef | None:
    """The newest release that succeeded and is another than the goal's; ``None``: there is none."""
    return next((release for release in reversed(past) if release.root != goal.target.root), None)
