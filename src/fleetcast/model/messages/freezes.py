"""People to control: freezes of the whole company."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fleetcast.model.freeze import Freeze
from fleetcast.model.ids import NAME, ServiceName
from fleetcast.model.limits import FREEZE_SERVICES_MAX
from fleetcast.model.protocol import PROTOCOL, Protocol
from fleetcast.model.spelling import stated


@dataclass(frozen=True, slots=True)
class FreezeOrder:
    """``PUT /v1/freezes/{name}``: adds a freeze, or changes the one of that name."""

    name: Annotated[str, NAME.meta]
    freeze: Freeze
    services: Annotated[tuple[ServiceName, ...], stated(maxItems=FREEZE_SERVICES_MAX)] = ()
    """None: all, those to come included."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class CompanyFreeze:
    """A freeze as it stands. Times are UTC milliseconds."""

    name: str
    freeze: Freeze
    services: tuple[ServiceName, ...]
    """None: all."""
    by: str
    """Whose token it was added with."""
    created_at_ms: int
    in_force: bool
    """Now."""
    until_ms: int | None
    """``None``: it is not in force, or for longer than control looks ahead."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class FreezePage:
    """``GET /v1/freezes``: by name. Their number is bounded, so there is one page."""

    items: tuple[CompanyFreeze, ...]
    next: str | None = None
    protocol: Protocol = PROTOCOL
