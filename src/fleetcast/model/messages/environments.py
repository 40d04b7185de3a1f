"""People to control: the environments of a service, and taking a release from one to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fleetcast.model.deployment import Deployment
from fleetcast.model.goal import Limits, ReleaseRef
from fleetcast.model.ids import NAME, CommitSha, Digest, ServiceName
from fleetcast.model.limits import FREEZE_REASON_CHARS_MAX, OVERRIDE_REASON_CHARS_MAX
from fleetcast.model.machine import Selector
from fleetcast.model.messages.services import MostUnavailable
from fleetcast.model.plan import Policy
from fleetcast.model.protocol import PROTOCOL, Protocol
from fleetcast.model.spelling import stated


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """``PUT /v1/services/{service}/environments/{name}``: creates or changes an environment of a service."""

    service: ServiceName
    name: Annotated[str, NAME.meta]
    selector: Selector = field(default_factory=Selector)
    """No machine may be meant by two environments of a service."""
    max_unavailable: MostUnavailable | None = None
    """These four as a service's."""
    max_unavailable_zone: MostUnavailable | None = None
    max_unavailable_rack: MostUnavailable | None = None
    max_unavailable_rollback: MostUnavailable | None = None
    plan: Policy = field(default_factory=Policy)
    requires: Annotated[str, NAME.meta] | None = None
    """What comes here has succeeded in this environment of the service before; ``None``: it need not."""
    takes_pushes: bool = False
    """What a push deploys comes here, and not to the service's default environment."""
    protocol: Protocol = PROTOCOL

    @property
    def limits(self) -> Limits:
        """How many machines may be down at a time because of us."""
        return Limits(self.max_unavailable, self.max_unavailable_rollback, self.max_unavailable_zone, self.max_unavailable_rack)


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment of a service, and what it is at."""

    service: ServiceName
    name: str
    default: bool
    """It is the service's own: what is meant where none is named. It is changed with the service, and goes with it."""
    selector: Selector
    limits: Limits
    plan: Policy
    requires: str | None
    takes_pushes: bool
    machines: int
    """That it selects; those of drained regions apart."""
    newest: Deployment | None
    """The newest that was triggered; ``None``: none was."""
    runs: Deployment | None
    """The one whose release its machines are to run; ``None``: nothing was deployed."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class EnvironmentList:
    """``GET /v1/services/{service}/environments``: the default one first, then by name. There are a few at most."""

    items: tuple[Environment, ...]
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class EnvironmentRemoved:
    """``DELETE /v1/services/{service}/environments/{name}``."""

    service: ServiceName
    name: str
    removed_at_ms: int
    machines: int
    """That are told to stop it; 0: nothing was deployed there."""
    tombstone_s: int
    """For so long a machine that is away now still learns of it when it is back."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class PromoteRequest:
    """``POST /v1/promotions``, safe to repeat as a deployment is: deploys what runs in one environment to another."""

    service: ServiceName
    source: Annotated[str, NAME.meta]
    target: Annotated[str, NAME.meta]
    digest: Digest | None = None
    """What is expected to run in ``source``: refused when it is something else by now. ``None``: whatever runs there."""
    plan: Policy | None = None
    """How it is rolled out; ``None``: as the environment says."""
    override_freeze: Annotated[str, stated(maxLength=FREEZE_REASON_CHARS_MAX)] = ""
    """Why freezes do not hold it; empty: they do."""
    override: Annotated[str, stated(maxLength=OVERRIDE_REASON_CHARS_MAX)] = ""
    """Why it may come although what the environment requires does not hold; recorded. Empty: it may not."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class Promotion:
    """``GET /v1/services/{service}/promotion?source=&target=``: what a promotion would deploy now. Changes nothing."""

    service: ServiceName
    source: str
    target: str
    release: ReleaseRef
    """What runs in ``source``, exactly as it would be deployed."""
    commit_sha: CommitSha
    replaces: Deployment | None
    """What runs in ``target`` now; ``None``: nothing does."""
    there_already: bool
    """``target`` is at that release."""
    refused: str
    """What ``target`` requires and does not hold; empty: all of it does."""
    repository: str
    """Where the commits between are to be looked up."""
    protocol: Protocol = PROTOCOL
