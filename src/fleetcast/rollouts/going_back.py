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
