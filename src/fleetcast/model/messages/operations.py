"""People (the command line, a web page) to control."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleetcast.model.build import Build, Recipe
from fleetcast.model.deployment import Deployment
from fleetcast.model.ids import ArtifactName, CommitSha, RegionName, ServiceName
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.protocol import PROTOCOL
from fleetcast.model.replication import Replica


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """``PUT /v1/services/{name}``: creates or changes a service."""

    name: ServiceName
    repository: str
    trunk: str = "main"
    """Commits must be on this branch; empty: any."""
    environment: str = "production"
    selector: Selector = field(default_factory=Selector)
    recipe: Recipe = field(default_factory=Recipe)
    """Wins over the ``fleetcast.toml`` of each commit."""
    max_unavailable: int | None = None
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """``POST /v1/deployments``."""

    service: ServiceName
    commit_sha: CommitSha
    rebuild: bool = False
    allow_unmerged: bool = False
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    """``POST /v1/rollbacks``. Without ``to``: the newest earlier release whose deployment SUCCEEDED and was not rolled back."""

    service: ServiceName
    to: CommitSha | None = None
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class RegionStatus:
    name: RegionName
    drained: bool
    last_report_age_s: float | None
    """``None``: never heard of since control started."""
    machines: int


@dataclass(frozen=True, slots=True)
class DeploymentDetail:
    """``GET /v1/deployments/{id}?wait_s=&seen=``: held until ``version`` differs from ``seen`` or the wait is over."""

    deployment: Deployment
    build: Build | None
    replicas: tuple[Replica, ...]
    version: str
    """Opaque; changes whenever anything shown here does."""
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """``GET /v1/status``."""

    version: str
    services: tuple[ServiceSpec, ...]
    regions: tuple[RegionStatus, ...]
    machines: tuple[Machine, ...]
    deployments: tuple[Deployment, ...]
    """The newest of each service."""
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class BuildLog:
    """``GET /v1/builds/{build}/log?offset=``."""

    offset: int
    """Of the first byte of ``text``."""
    text: str
    next_offset: int
    finished: bool
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class ArtifactDetail:
    """``GET /v1/artifacts/{service}/{commit}``."""

    name: ArtifactName
    envelope: str
    replicas: tuple[Replica, ...]
    deployable: bool
    protocol: int = PROTOCOL
