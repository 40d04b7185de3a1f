"""People to control: deployments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fleetcast.model.build import Build
from fleetcast.model.check import CheckPicture
from fleetcast.model.deployment import Deployment
from fleetcast.model.ids import NAME, CommitSha, DeploymentId, RegionName, ServiceName
from fleetcast.model.limits import FREEZE_REASON_CHARS_MAX, OVERRIDE_REASON_CHARS_MAX
from fleetcast.model.picture import RegionPicture
from fleetcast.model.plan import PlannedWave, Policy, WavePicture, WhenBusy
from fleetcast.model.protocol import PROTOCOL, Protocol
from fleetcast.model.replication import Replica
from fleetcast.model.spelling import stated


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """``POST /v1/deployments``. With a header ``Idempotency-Key`` it may be sent again: it triggers once."""

    service: ServiceName
    commit_sha: CommitSha
    rebuild: bool = False
    allow_unmerged: bool = False
    urgent: bool = False
    """Its build passes ordinary ones in line."""
    plan: Policy | None = None
    """How it is rolled out; ``None``: as the service, or its environment, says."""
    override_freeze: Annotated[str, stated(maxLength=FREEZE_REASON_CHARS_MAX)] = ""
    """Why freezes do not hold it; empty: they do."""
    environment: Annotated[str, NAME.meta] | None = None
    """Of the service; ``None``: its own."""
    override: Annotated[str, stated(maxLength=OVERRIDE_REASON_CHARS_MAX)] = ""
    """Why it may come although what the environment requires does not hold; recorded. Empty: it may not."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class RefusalRequest:
    """``POST /v1/deployments/{id}/refuse``."""

    reason: Annotated[str, stated(minLength=1, maxLength=FREEZE_REASON_CHARS_MAX)]
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    """``POST /v1/rollbacks``, safe to repeat as a deployment is.

    Without ``to``: the newest earlier release whose deployment SUCCEEDED and was not rolled back.
    """

    service: ServiceName
    to: CommitSha | None = None
    environment: Annotated[str, NAME.meta] | None = None
    """Of the service; ``None``: its own."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """``POST /v1/retries``, safe to repeat as a deployment is."""

    service: ServiceName
    environment: Annotated[str, NAME.meta] | None = None
    """Of the service; ``None``: its own."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class SkipRequest:
    """``POST /v1/deployments/{id}/skip``, safe to repeat."""

    region: RegionName
    undo: bool = False
    """It means the region's machines again."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """``POST /v1/previews``: what a deployment of a service would do now. Changes nothing."""

    service: ServiceName
    plan: Policy | None = None
    """``None``: the service's, or its environment's, own."""
    environment: Annotated[str, NAME.meta] | None = None
    """Of the service; ``None``: its own."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class Preview:
    """A plan for the machines there are. Times in seconds from the moment the release is deployable."""

    service: ServiceName
    plan: str
    """Its policy's name."""
    waves: tuple[PlannedWave, ...]
    machines: int
    ends_s: float
    """When it will be over if machines take as long as they usually do."""
    budget_s: float
    """In which a release should be on every machine."""
    bound_s: float
    """When it has ended at the latest, whatever happens, unless somebody pauses it."""
    remarks: tuple[str, ...] = ()
    """What a person should know before."""
    held: str = ""
    """What would keep it now from letting in its first machine; empty: nothing."""
    unfinished: tuple[DeploymentId, ...] = ()
    """Deployments there that are under way, in the order of their triggers."""
    when_busy: WhenBusy = WhenBusy.SUPERSEDE
    """What it does if they still are when its release is deployable."""
    busy: str = ""
    """The same for people; empty: none is under way."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class DeploymentDetail:
    """``GET /v1/deployments/{id}?wait_s=&seen=``: held until ``version`` differs from ``seen`` or the wait is over."""

    deployment: Deployment
    build: Build | None
    replicas: tuple[Replica, ...]
    version: str
    """Opaque; changes whenever anything shown here does but an age."""
    regions: tuple[RegionPicture, ...] = ()
    """By name; empty from a control of an older version."""
    builds_ahead: int = 0
    """In the queue, while the build is QUEUED."""
    age_s: float = 0.0
    """Since the trigger, until the end, when this was answered."""
    waves: tuple[WavePicture, ...] = ()
    """In order, once the goal is written; empty where everybody is let in at once."""
    checks: tuple[CheckPicture, ...] = ()
    """What is asked outside about the wave that was let in last."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class DeploymentPage:
    """``GET /v1/deployments?service=&state=&environment=&after=&limit=``: newest first."""

    items: tuple[Deployment, ...]
    next: str | None
    """``after`` of the next page; ``None``: this is the last."""
    protocol: Protocol = PROTOCOL
