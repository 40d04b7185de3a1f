"""A build: one job that turns a commit into an artifact, and the recipe it follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final

from fleetcast.model.hooks import Hooks, broken_hooks
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, ServiceName, artifact_name
from fleetcast.model.limits import HEALTH_TIMEOUT_S_MAX, SERVICE_DRAIN_S_MAX
from fleetcast.model.listening import Sockets, broken_sockets
from fleetcast.model.probe import Probe, broken_probe
from fleetcast.model.spelling import TEXT, Natural, Spelling, stated

USER_NAME: Final = Spelling(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
VARIABLE: Final = Spelling(r"(?!FLEETCAST_)[A-Za-z_][A-Za-z0-9_]*")


class BuildStatus(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        return not BUILD_TRANSITIONS[self]


BUILD_TRANSITIONS: Final[Mapping[BuildStatus, frozenset[BuildStatus]]] = {
    # Out of QUEUED straight to FAILED: the queue deadline passed, or nobody wants it any more.
    BuildStatus.QUEUED: frozenset({BuildStatus.RUNNING, BuildStatus.FAILED}),
    # Back to QUEUED: the reaper found the worker silent, or the worker handed the build back.
    BuildStatus.RUNNING: frozenset({BuildStatus.QUEUED, BuildStatus.SUCCEEDED, BuildStatus.FAILED}),
    BuildStatus.SUCCEEDED: frozenset(),
    BuildStatus.FAILED: frozenset(),
}


class Lane(StrEnum):
    """How a build stands in line."""

    ORDINARY = "ordinary"
    URGENT = "urgent"
    """A hotfix, or what a rollback waits for: in line as if it had been ordered ``BUILD_URGENT_AHEAD_S`` earlier, and with one
    slot beyond its service's bound."""


ABORTED: Final = "aborted"
"""The reason of a build that somebody ended."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build and run a service, from ``fleetcast.toml`` at the commit or from the command line.

    Commands are run by ``/bin/sh -c``. A field left ``None`` is taken from the next source; ``build`` and ``output`` must
    come from one of them.
    """

    build: Annotated[str, TEXT.meta] | None = None
    """Run in the worktree. ``None`` after merging: nothing to build, ``output`` is in the commit."""
    output: Annotated[str, TEXT.meta] | None = None
    """File or directory that becomes the artifact, relative to the worktree."""
    activate: Annotated[str, TEXT.meta] | None = None
    """Run in the release's directory after the switch. While it runs it is the service's process and is supervised."""
    health: Annotated[str, TEXT.meta] | None = None
    """Run in the release's directory until it exits 0 or ``health_timeout_s`` is over."""
    health_timeout_s: Annotated[float, stated(exclusiveMinimum=0, maximum=HEALTH_TIMEOUT_S_MAX)] | None = None
    drain_s: Annotated[float, stated(exclusiveMinimum=0, maximum=SERVICE_DRAIN_S_MAX)] | None = None
    """How long the service may take to end once it is asked to, having been in service; ``None``: ``STOP_GRACE_S``."""
    environment: Mapping[Annotated[str, VARIABLE.meta], Annotated[str, TEXT.meta]] = field(default_factory=dict)
    """Added to what ``activate`` and ``health`` see."""
    build_environment: Mapping[Annotated[str, VARIABLE.meta], Annotated[str, TEXT.meta]] = field(default_factory=dict)
    """Added to what ``build`` sees."""
    network: bool | None = None
    """Whether ``build`` may use the network; ``None`` after merging: it may not."""
    hooks: Hooks = field(default_factory=dict)
    """Run on each machine at certain moments of the release's life there."""
    probe: Probe | None = None
    """What is asked instead of ``health``, or how that is run. The two are taken from one source together."""
    sockets: Sockets = ()
    """Listening sockets that ``activate`` is started with; they stay open from one release to the next."""
    user: Annotated[str, USER_NAME.meta] | None = None
    """Of the machine, as whom all commands of a release run where the agent runs as root; ``None``: as the agent does."""

    def over(self, other: Recipe) -> Recipe:
        """This recipe, with what it leaves open taken from ``other``."""
        checked = self if self.health is not None or self.probe is not None else other
        return Recipe(
            build=self.build if self.build is not None else other.build,
            output=self.output if self.output is not None else other.output,
            activate=self.activate if self.activate is not None else other.activate,
            health=checked.health,
            probe=checked.probe,
            sockets=self.sockets or other.sockets,
            user=self.user if self.user is not None else other.user,
            health_timeout_s=self.health_timeout_s if self.health_timeout_s is not None else other.health_timeout_s,
            drain_s=self.drain_s if self.drain_s is not None else other.drain_s,
            environment={**other.environment, **self.environment},
            build_environment={**other.build_environment, **self.build_environment},
            network=self.network if self.network is not None else other.network,
            hooks={**other.hooks, **self.hooks},
        )


def broken_recipe(recipe: Recipe) -> str | None:
    """What no recipe may say wherever it comes from, because no machine could carry it out; ``None`` when all is well."""
    commands = {"build": recipe.build, "output": recipe.output, "activate": recipe.activate, "health": recipe.health}
    for name, text in commands.items():
        if text is not None and not TEXT.fits(text):
            return f"{name} contains a NUL character"
    for name, text in (*recipe.environment.items(), *recipe.build_environment.items()):
        if not VARIABLE.fits(name):
            return f"{name!r} cannot be set: use letters, digits and '_', and not FLEETCAST_..."
        if not TEXT.fits(text):
            return f"{name} contains a NUL character"
    # Not written as two comparisons that NaN would pass.
    if recipe.health_timeout_s is not None and not 0 < recipe.health_timeout_s <= HEALTH_TIMEOUT_S_MAX:
        return f"health_timeout_s must be a number of seconds above 0, at most {HEALTH_TIMEOUT_S_MAX}"
    if recipe.drain_s is not None and not 0 < recipe.drain_s <= SERVICE_DRAIN_S_MAX:
        return f"drain_s must be a number of seconds above 0, at most {SERVICE_DRAIN_S_MAX}"
    if recipe.probe is not None and (broken := broken_probe(recipe.probe, recipe.health or "")) is not None:
        return broken
    if recipe.user is not None and not USER_NAME.fits(recipe.user):
        return f"user must be the name of a user, not {recipe.user!r}"
    if (broken := broken_sockets(recipe.sockets, recipe.activate, recipe.probe)) is not None:
        return broken
    return broken_hooks(recipe.hooks)


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """What to build. ``build_number`` starts at 1; only a rebuild has a higher one."""

    service: ServiceName
    commit_sha: CommitSha
    repository: str
    trunk: str
    """The branch the commit must be on; empty: any commit will do."""
    recipe: Recipe
    build_number: int = 1

    @property
    def name(self) -> ArtifactName:
        return artifact_name(self.service, self.commit_sha, self.build_number)


@dataclass(frozen=True, slots=True)
class Build:
    """A row of ``jobs`` as people see it. Times are the database's clock, UTC milliseconds."""

    id: BuildId
    name: ArtifactName
    service: ServiceName
    commit_sha: CommitSha
    status: BuildStatus
    reason: str
    """Why it FAILED, or why it went back to QUEUED; empty otherwise."""
    attempt: Natural
    """How often it was claimed."""
    worker: str
    created_at_ms: Natural
    last_heartbeat_ms: Natural | None
    finished_at_ms: Natural | None
    blob: str
    """Key of the artifact's content in the main store; empty until SUCCEEDED."""
    lane: str = Lane.ORDINARY
    """One of :class:`Lane`."""
    not_before_ms: Natural | None = None
    """While QUEUED again: no earlier than then."""
