"""People to control: what is kept of artifacts."""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.ids import ArtifactName, Digest
from fleetcast.model.protocol import PROTOCOL, Protocol


@dataclass(frozen=True, slots=True)
class TierVerdict:
    """Whether an artifact is to leave the main store, or the regions' buckets, and why or why not."""

    collect: bool
    reason: str


@dataclass(frozen=True, slots=True)
class RetentionItem:
    """An artifact that the main store has."""

    artifacts: tuple[ArtifactName, ...]
    """Its names, the newest first: equal files have several."""
    digest: Digest
    bytes: int
    used_at_ms: int
    """When it was built, or a deployment of it ended last: the database's clock, UTC milliseconds."""
    main: TierVerdict
    regions: TierVerdict | None
    """``None``: they have no copies."""


@dataclass(frozen=True, slots=True)
class RetentionPage:
    """``GET /v1/retention?after=&limit=``: by name. A verdict is as of now; nothing changes by asking."""

    items: tuple[RetentionItem, ...]
    next: str | None
    """``after`` of the page that follows; ``None``: this was the last."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class Collected:
    """``POST /v1/retention/collect``: what was decided; it is carried out within seconds, or when a region is back."""

    main: tuple[ArtifactName, ...]
    main_bytes: int
    regions: tuple[ArtifactName, ...]
    region_bytes: int
    """In each bucket."""
    protocol: Protocol = PROTOCOL
