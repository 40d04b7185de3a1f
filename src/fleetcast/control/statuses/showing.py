"""What is shown beside a commit, and how GitHub and GitLab are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from fleetcast.model.build import BuildStatus
from fleetcast.model.clone_url import normalised
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.event import EventKind
from fleetcast.model.limits import STATUS_DESCRIPTION_CHARS_MAX
from fleetcast.model.lines import one_line

GITHUB: Final = "github"
GITLAB: Final = "gitlab"


class Shown(StrEnum):
    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    """It ended for another reason than the commit."""


@dataclass(frozen=True, slots=True)
class Forge:
    """A server that has repositories."""

    name: str
    """``github`` or ``gitlab``: what it understands."""
    url: str
    """What repositories on it begin with, whatever they are cloned by."""
    link: str = ""
    """Where the status points to; ``{kind}``, ``{id}``, ``{service}`` and ``{commit}`` are filled in. Empty: nowhere."""

    def repository(self, clone_url: str) -> str | None:
        """What it calls the repository (``team/web``); ``None``: it does not have it."""
        meant, ours = normalised(clone_url), normalised(f"{self.url.rstrip('/')}/x")
        return meant.written if meant is not None and ours is not None and meant.host == ours.host else None


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """One line beside one commit."""

    repository: str
    service: str
    commit_sha: str
    kind: str
    """``build`` or ``deploy``."""
    subject: str
    state: Shown
    description: str


@dataclass(frozen=True, slots=True)
class Telling:
    """A request to the API of a forge."""

    path: str
    body: Mapping[str, str]


BEGINS: Final = frozenset({EventKind.BUILD_QUEUED, EventKind.DEPLOYMENT_TRIGGERED})
ENDS: Final = frozenset({EventKind.BUILD_ENDED, EventKind.DEPLOYMENT_ENDED})
_GITHUB_STATES: Final = {Shown.CANCELLED: "error"}
_GITLAB_STATES: Final = {Shown.FAILURE: "failed", Shown.CANCELLED: "canceled"}
_SUCCEEDED: Final = (BuildStatus.SUCCEEDED, DeploymentState.SUCCEEDED)
_FAILED: Final = (BuildStatus.FAILED, DeploymentState.FAILED)


def shown(kind: str, state: str) -> Shown:
    """What an event with that state means for the commit."""
    if kind in BEGINS:
        return Shown.PENDING
    if state in _SUCCEEDED:
        return Shown.SUCCESS
    return Shown.FAILURE if state in _FAILED else Shown.CANCELLED


def described(kind: str, subject: str, state: str, reason: str) -> str:
    """The words beside it."""
    what = f"build {subject}" if kind.startswith("build") else f"deployment {subject}"
    if kind in BEGINS:
        return f"{what} is under way"
    said = f"{what} {state.lower().replace('_', ' ')}"
    return one_line(f"{said}: {reason}" if reason else said)[:STATUS_DESCRIPTION_CHARS_MAX]


def telling(forge: Forge, status: CommitStatus) -> Telling:
    """https://docs.github.com/en/rest/commits/statuses and https://docs.gitlab.com/api/commits/#set-the-pipeline-status-of-a-commit.

    A later one under the same name replaces the earlier one, so telling twice does no harm.
    """
    name = f"fleetcast/{status.service}/{status.kind}"
    link = forge.link
    for key, value in (
        ("kind", status.kind),
        ("id", status.subject),
        ("service", status.service),
        ("commit", status.commit_sha),
    ):
        link = link.replace(f"{{{key}}}", value)
    body = {"description": status.description, **({"target_url": link} if link else {})}
    if forge.name == GITHUB:
        state = _GITHUB_STATES.get(status.state, status.state.value)
        return Telling(
            f"/repos/{quote(status.repository)}/statuses/{status.commit_sha}", {"state": state, "context": name, **body}
        )
    state = _GITLAB_STATES.get(status.state, status.state.value)
    return Telling(
        f"/projects/{quote(status.repository, safe='')}/statuses/{status.commit_sha}", {"state": state, "name": name, **body}
    )


def already_so(forge: Forge, complaint: str) -> bool:
    """GitLab refuses to be told what it shows already."""
    return forge.name == GITLAB and "Cannot transition status" in complaint
