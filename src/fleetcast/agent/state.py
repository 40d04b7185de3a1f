"""What an agent remembers of one service: written before it acts, so that its successor goes on where it was."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fleetcast.model.deployment import ByteCounts
from fleetcast.model.generation import Generation
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import DeploymentId, Digest


@dataclass(frozen=True, slots=True)
class Activation:
    """A change-over that has begun: from here on the release before may be stopped."""

    id: str
    """Unique on this machine; the processes started for it carry it."""
    release: ReleaseRef
    deployment: DeploymentId
    generation: Generation
    fallback: bool = False
    """True: going back after ``deployment`` failed here."""
    leaving: ReleaseRef | None = None
    """What was in service when it began, and makes room for it."""


@dataclass(frozen=True, slots=True)
class Active:
    """What ``current`` points to and is kept running."""

    release: ReleaseRef
    activation: str
    passed: bool
    """Whether its health check has passed. False: the release we went back to is not healthy either, but better than none."""
    boot: str
    """The boot in which it passed."""
    since_ms: int
    """When, by that boot's monotonic clock."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A release that a deployment failed to bring up here; it is not tried again for that deployment."""

    deployment: DeploymentId
    root: Digest
    error: str
    output: tuple[str, ...] = ()
    """The last lines of what failed."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where the bytes of a deployment's target came from."""

    deployment: DeploymentId
    root: Digest
    bytes: ByteCounts


@dataclass(frozen=True, slots=True)
class ServiceState:
    active: Active | None = None
    activation: Activation | None = None
    """Begun and not ended. While it lasts ``active`` is what to go back to."""
    previous: ReleaseRef | None = None
    """Active before ``active``."""
    succeeded: tuple[ReleaseRef, ...] = ()
    """Releases whose deployments succeeded, as far as this machine has heard; newest first."""
    failures: tuple[Failure, ...] = ()
    """Of the newest deployment this machine has heard of."""
    fetched: Fetched | None = None
    again: Generation | None = None
    """Of the last goal by which failures were forgotten, so that what failed is tried once more."""

    def failure(self, deployment: DeploymentId, root: Digest) -> Failure | None:
        """What went wrong with that release for that deployment; ``None``: nothing so far."""
        for failure in self.failures:
            if failure.deployment == deployment and failure.root == root:
                return failure
        return None


def passed(state: ServiceState, active: Active) -> ServiceState:
    """A change-over ended with its health check passed."""
    previous = state.previous
    if state.active is not None and state.active.release != active.release:
        previous = state.active.release
    return replace(state, active=active, activation=None, previous=previous)


def leaving(state: ServiceState, started: str) -> ReleaseRef | None:
    """What is in service as a change-over begins; ``None``: nothing.

    ``started``: the change-over that the newest process was started for. One that was begun and is replaced by another has not
    been in service itself; from when it started its process, nothing was.
    """
    begun = state.activation
    if begun is None:
        return state.active.release if state.active else None
    return None if started == begun.id else begun.leaving


def given_up(state: ServiceState, deployment: DeploymentId, root: Digest, error: str, output: tuple[str, ...]) -> ServiceState:
    """A release was not brought up, and nothing was stopped for it."""
    return replace(state, failures=(*state.failures, Failure(deployment, root, error, output)))


def failed(state: ServiceState, activation: Activation, error: str, back: str, output: tuple[str, ...] = ()) -> ServiceState:
    """A change-over failed. The way back to what was active, named ``back``, thereby has begun.

    Where there is no way back, because it was the way back that failed or nothing was active, that is the end: a release
    that was healthy once keeps running without having passed, another one does not.
    """
    state = given_up(state, activation.deployment, activation.release.root, error, output)
    state = replace(state, activation=None)
    active = state.active
    if active is None:
        return state
    if active.release == activation.release:
        return replace(state, active=replace(active, activation=activation.id, passed=False))
    way_back = replace(activation, id=back, release=active.release, fallback=True, leaving=None)
    return replace(state, activation=way_back)
