"""Where an artifact's copies are: one row per bucket and artifact."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleetcast.model.ids import Digest, RegionName
from fleetcast.model.spelling import Natural


class ReplicaStatus(StrEnum):
    PENDING = "PENDING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Replica:
    """One bucket's copy of one artifact. ``bucket`` is named after its region."""

    bucket: RegionName
    digest: Digest
    status: ReplicaStatus
    reason: str
    """Why FAILED, or what a PENDING one waits for."""
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """A region's own account of a copy under way. Control believes only what it sees in the bucket itself."""

    digest: Digest
    bytes_copied: Natural
    bytes_total: Natural
    error: str = ""
    """Why the last attempt ended; empty while there is nothing wrong."""
    given_up: bool = False
    """Attempts have failed for as long as the region's settings allow. They go on, once in a while."""


@dataclass(frozen=True, slots=True)
class CopyDemand:
    """Somebody wants a copy attempted now, whatever became of the attempts before."""

    digest: Digest
    asked_at_ms: Natural
    """By the database's clock: which of several."""
