"""What is said where a repository lacks the branch that a service's commits must be on."""

from __future__ import annotations

from collections.abc import Sequence

from fleetcast.model.errors import NotFound
from fleetcast.model.limits import BRANCHES_SHOWN_MAX


def no_trunk(trunk: str, branches: Sequence[str], advice: str) -> NotFound:
    """``advice`` is what comes before the name of a branch that is there: ``say --trunk``."""
    if not branches:
        return NotFound("unknown_trunk", f"the repository has no branch {trunk!r}, nor any other: push to it first")
    shown = ", ".join(branches[:BRANCHES_SHOWN_MAX])
    more = len(branches) - BRANCHES_SHOWN_MAX
    there = f"{shown} and {more} more" if more > 0 else shown
    likely = next((name for name in ("main", "master", "trunk") if name in branches), branches[0])
    return NotFound("unknown_trunk", f"the repository has no branch {trunk!r} (it has: {there}): {advice} {likely}")
