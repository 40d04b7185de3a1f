"""People to control: builds, their logs, and what they made."""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.build import Build
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, Digest, RegionName, ServiceName
from fleetcast.model.protocol import PROTOCOL, Protocol
from fleetcast.model.replication import Replica
from fleetcast.model.retention import Tier


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """``POST /v1/builds``: build a commit, and deploy it to nobody. Answered with a :class:`Build`."""

    service: ServiceName
    commit_sha: CommitSha
    rebuild: bool = False
    allow_unmerged: bool = False
    urgent: bool = False
    """It passes ordinary builds in line."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class BuildDetail:
    """``GET /v1/builds/{id}?wait_s=&seen=``: held until ``version`` differs from ``seen`` or the wait is over."""

    build: Build
    ahead: int
    """Builds that will be claimed before it, while it is QUEUED; 0 afterwards."""
    log_bytes: int
    """Size of its log so far."""
    version: str
    """Opaque; changes whenever ``build`` or ``ahead`` does. The log grows without it."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class BuildPage:
    """``GET /v1/builds?service=&commit=&status=&after=&limit=``: newest first."""

    items: tuple[Build, ...]
    next: str | None
    """``after`` of the page that follows; ``None``: this was the last."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class BuildLog:
    """``GET /v1/builds/{build}/log?offset=``."""

    offset: int
    """Of the first byte of ``text``."""
    text: str
    next_offset: int
    finished: bool
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact in a list. Times are the database's clock, UTC milliseconds."""

    name: ArtifactName
    service: ServiceName
    commit_sha: CommitSha
    build: BuildId
    digest: Digest
    content_bytes: int
    created_at_ms: int
    deployable: bool
    """Complete in every bucket that counts."""
    pinned: bool = False
    """Never collected."""
    collected: Tier | None = None
    """``regions``: their copies were, and the next deployment makes them again; ``main``: all of it was, and it has to be built
    again."""
    collected_why: str = ""
    """Where it has to be built again."""


@dataclass(frozen=True, slots=True)
class ArtifactPage:
    """``GET /v1/artifacts?service=&after=&limit=``: newest first."""

    items: tuple[Artifact, ...]
    next: str | None
    """``after`` of the page that follows; ``None``: this was the last."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class ArtifactDetail:
    """``GET /v1/artifacts/{service}/{commit}``."""

    name: ArtifactName
    envelope: str
    replicas: tuple[Replica, ...]
    deployable: bool
    build: BuildId | None = None
    """That made it; ``None`` from a control that does not say."""
    pinned: bool = False
    collected: Tier | None = None
    """As of an :class:`Artifact`."""
    collected_why: str = ""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class CommitPage:
    """``GET /v1/services/{name}/commits?prefix=&after=&limit=``: what control has built or deployed of a service, by SHA."""

    items: tuple[CommitSha, ...]
    next: str | None
    """``after`` of the page that follows; ``None``: this was the last."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class ReplicateRequest:
    """``POST /v1/artifacts/{service}/{commit}/replicate``: attempt its copies now. Answered with a :class:`Replicating`."""

    regions: tuple[RegionName, ...] = ()
    """Only there; empty: in every region that is not drained by a person."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class Replicating:
    name: ArtifactName
    digest: Digest
    regions: tuple[RegionName, ...]
    """That are told with the answer to their next report."""
    protocol: Protocol = PROTOCOL
