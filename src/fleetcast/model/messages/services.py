"""People to control: services."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleetcast.model.build import Recipe
from fleetcast.model.ids import ServiceName
from fleetcast.model.machine import Selector
from fleetcast.model.protocol import PROTOCOL


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
class ServicePage:
    """``GET /v1/services?after=&limit=``: by name."""

    items: tuple[ServiceSpec, ...]
    next: str | None
    """``after`` of the next page; ``None``: this is the last."""
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class ServiceRemoved:
    """``DELETE /v1/services/{name}``."""

    name: ServiceName
    removed_at_ms: int
    machines: int
    """That are told to stop it; 0: it was not deployed since it was added."""
    tombstone_s: int
    """For so long a machine that is away now still learns of it when it is back."""
    protocol: int = PROTOCOL
