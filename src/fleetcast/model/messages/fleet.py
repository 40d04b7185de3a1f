"""People to control: the fleet at a glance, regions and machines."""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.deployment import Deployment
from fleetcast.model.ids import RegionName
from fleetcast.model.machine import Machine
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.protocol import PROTOCOL


@dataclass(frozen=True, slots=True)
class RegionStatus:
    name: RegionName
    drained: bool
    last_report_age_s: float | None
    """``None``: never heard of since control started."""
    machines: int


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
