"""Permits: a machine that is up asks its region before it takes a service down (law 5)."""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.generation import Generation
from fleetcast.model.ids import MachineId, ServiceName


@dataclass(frozen=True, slots=True)
class PermitRequest:
    machine: MachineId
    service: ServiceName
    environment: str
    generation: Generation
    available: bool
    """False: the service is down on this machine already. That counts, but needs no permit."""


@dataclass(frozen=True, slots=True)
class PermitDecision:
    granted: bool
    expires_in_s: float
    """Life of the permit from the answer on; when refused, when to ask again."""
    reason: str
    """Why not: ``3 of at most 3 machines of web are down``."""
