"""What happened to a branch in a repository, and what a service wants done about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleetcast.model.ids import CommitSha


class OnPush(StrEnum):
    """What a new head of a service's trunk triggers."""

    NOTHING = "nothing"
    BUILD = "build"
    DEPLOY = "deploy"


@dataclass(frozen=True, slots=True)
class Push:
    """A branch was moved."""

    repositories: tuple[str, ...]
    """The repository, in each of the ways in which it can be cloned."""
    branch: str
    head: CommitSha
    """Where the branch is now."""
    before: str
    """Where it was; only zeros: it was not there."""
    pushed_at_ms: int | None = None
    """By the clock of the server that has the repository; ``None``: it did not say."""
