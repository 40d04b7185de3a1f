"""A rollback that somebody made at a region, past control: what the region keeps of it and tells control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fleetcast.model.generation import Generation
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import NAME, DeploymentId, RegionName, ServiceName
from fleetcast.model.spelling import Natural


@dataclass(frozen=True, slots=True)
class RegionRollback:
    """It stands until somebody has deployed or rolled back the service at control since: until then the region takes no goal of
    control's for the service."""

    region: RegionName
    service: ServiceName
    environment: Annotated[str, NAME.meta]
    deployment: DeploymentId
    """By which the region's goal and its machines name it. Control has no deployment of that id."""
    over: DeploymentId
    """The deployment whose goal it took the place of."""
    left: ReleaseRef
    """The target of that goal."""
    target: ReleaseRef
    at_ms: int
    """By the region's clock, UTC."""
    by: str
    """Who, as they said: whoever holds the region's token may say anything."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class StandingRollback:
    """One that stands, as its region reports it."""

    rollback: RegionRollback
    generation: Generation
    """Of the goal that the region's machines have for it now."""
    age_ms: Natural
    """How long ago it was made, by the region's clock."""


@dataclass(frozen=True, slots=True)
class RecordedRollback:
    """One that control knows of. Times are the database's clock, UTC milliseconds."""

    rollback: RegionRollback
    made_at_ms: int
    recorded_at_ms: int
    """When control first heard of it."""
    over_at_ms: int | None = None
    """Since when it stands no more; ``None``: it stands."""
    over_why: str = ""
