"""Which release a rollback goes back to (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.ids import CommitSha, DeploymentId, Digest


@dataclass(frozen=True, slots=True)
class Past:
    """One earlier deployment of the service and environment, forward or back, whose goal was written."""

    deployment: DeploymentId
    sequence: int
    state: DeploymentState
    rolled_back: bool
    commit_sha: CommitSha
    root: Digest
    """Of its release: two deployments with the same one run the same."""


def back_to(history: Sequence[Past], current: Past, to: CommitSha | None) -> Past | None:
    """The deployment whose release to run again; ``None``: there is none.

    Without ``to`` the newest earlier one that SUCCEEDED, was not rolled back, and is another release than the current one.
    A person may name a commit whose release was rolled back before: that is their decision, but it must have SUCCEEDED once.

    Everything after the returned one counts as rolled back, which is what makes a second rollback go further back and not
    forward again.
    """
    candidates = [
        past
        for past in history
        if past.sequence < current.sequence and past.state is DeploymentState.SUCCEEDED and past.root != current.root
    ]
    if to is None:
        candidates = [past for past in candidates if not past.rolled_back]
    else:
        candidates = [past for past in candidates if past.commit_sha == to]
    return max(candidates, key=lambda past: past.sequence, default=None)


def last_good(history: Sequence[Past], sick: Past) -> Past | None:
    """The deployment to whose release machines go back from one that proved sick while it was rolled out; ``None``: there is
    none, or it is the same release.

    Unlike a person, who asks for something else than what runs, this goes to the release that the machines outside still run.
    """
    earlier = [
        past
        for past in history
        if past.sequence < sick.sequence and past.state is DeploymentState.SUCCEEDED and not past.rolled_back
    ]
    newest = max(earlier, key=lambda past: past.sequence, default=None)
    return None if newest is None or newest.root == sick.root else newest
