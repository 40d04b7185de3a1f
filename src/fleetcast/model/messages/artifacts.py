"""People to control: builds, their logs, and what they made."""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.ids import ArtifactName
from fleetcast.model.protocol import PROTOCOL
from fleetcast.model.replication import Replica


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
