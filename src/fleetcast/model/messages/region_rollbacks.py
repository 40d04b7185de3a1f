"""People to a region, past control; and to control, about what was done there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from fleetcast.model.ids import ServiceName
from fleetcast.model.limits import REGION_ROLLBACK_CHARS_MAX
from fleetcast.model.protocol import PROTOCOL, Protocol
from fleetcast.model.region_rollback import RecordedRollback, RegionRollback
from fleetcast.model.report import NamedFailure

Said = Annotated[str, Meta(max_length=REGION_ROLLBACK_CHARS_MAX)]


@dataclass(frozen=True, slots=True)
class RegionRollbackRequest:
    """``POST /v1/rollbacks`` at a region. Sent again it goes back further, as at control."""

    service: ServiceName
    by: Annotated[str, Meta(min_length=1, max_length=REGION_ROLLBACK_CHARS_MAX)]
    """Who asks: kept, told to control and shown to people."""
    environment: str = ""
    """Empty: the only one for which this region has a goal of the service."""
    to: Said = ""
    """An artifact's name, its commit or the beginning of that; empty: the newest other release that succeeded."""
    why: Said = ""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class RegionRollbackStatus:
    """The answer, and that of ``GET /v1/rollbacks/{environment}/{service}`` at a region. Counts of the region's machines."""

    rollback: RegionRollback
    selected: int
    """That the service means."""
    active: int
    """Run the release that it went back to, healthy."""
    failed: int
    silent: int
    """Say nothing to their region: they go back when they are heard of again."""
    failures: tuple[NamedFailure, ...] = ()
    waiting: tuple[NamedFailure, ...] = ()
    """Some that are not done, and what they wait for."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class RegionRollbacks:
    """``GET /v1/region-rollbacks?service=`` at control: the newest first, at most ``REGION_ROLLBACKS_LISTED_MAX``."""

    items: tuple[RecordedRollback, ...]
    protocol: Protocol = PROTOCOL
