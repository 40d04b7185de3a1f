"""People to control: services."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final, TypeAlias

from fleetcast.model.build import Recipe
from fleetcast.model.goal import Limits
from fleetcast.model.ids import NAME, ServiceName
from fleetcast.model.limits import POLL_EVERY_S_MAX, POLL_EVERY_S_MIN, REGION_MACHINES_MAX
from fleetcast.model.machine import Selector
from fleetcast.model.plan import Policy
from fleetcast.model.protocol import PROTOCOL, Protocol
from fleetcast.model.push import OnPush
from fleetcast.model.spelling import Spelling, stated

# Git would take what starts with '-' for an option.
REPOSITORY: Final = Spelling(r"(?!-)[^\x00]+")
TRUNK: Final = Spelling(r"(?!-)[^\x00]*")
MostUnavailable: TypeAlias = Annotated[int, stated(minimum=1, maximum=REGION_MACHINES_MAX)]


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """``PUT /v1/services/{name}``: creates or changes a service."""

    name: ServiceName
    repository: Annotated[str, REPOSITORY.meta]
    trunk: Annotated[str, TRUNK.meta] = "main"
    """Commits must be on this branch; empty: any."""
    environment: Annotated[str, NAME.meta] = "production"
    """Its own, meant where none is named. Others are added to it."""
    selector: Selector = field(default_factory=Selector)
    recipe: Recipe = field(default_factory=Recipe)
    """Wins over the ``fleetcast.toml`` of each commit."""
    max_unavailable: MostUnavailable | None = None
    """Machines of a region that a deployment may take down at a time, and below: of each of its zones, of each rack."""
    max_unavailable_zone: MostUnavailable | None = None
    max_unavailable_rack: MostUnavailable | None = None
    max_unavailable_rollback: MostUnavailable | None = None
    """Of a region, in a rollback; ``None``: all."""
    on_push: OnPush = OnPush.NOTHING
    """What a new head of the trunk triggers, once control has heard of it: by a webhook, or because it looks."""
    poll_every_s: Annotated[int, stated(minimum=POLL_EVERY_S_MIN, maximum=POLL_EVERY_S_MAX)] | None = None
    """How often control looks for a new head; ``None``: it waits for webhooks."""
    plan: Policy = field(default_factory=Policy)
    """How its deployments are rolled out."""
    requires: Annotated[str, NAME.meta] | None = None
    """What comes to its own environment has succeeded in this other one before; ``None``: it need not."""
    protocol: Protocol = PROTOCOL

    @property
    def limits(self) -> Limits:
        """As its goals state them."""
        return Limits(self.max_unavailable, self.max_unavailable_rollback, self.max_unavailable_zone, self.max_unavailable_rack)


@dataclass(frozen=True, slots=True)
class ServicePage:
    """``GET /v1/services?after=&limit=``: by name."""

    items: tuple[ServiceSpec, ...]
    next: str | None
    """``after`` of the next page; ``None``: this is the last."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class ServiceRemoved:
    """``DELETE /v1/services/{name}``."""

    name: ServiceName
    removed_at_ms: int
    machines: int
    """That are told to stop it; 0: it was not deployed since it was added."""
    tombstone_s: int
    """For so long a machine that is away now still learns of it when it is back."""
    protocol: Protocol = PROTOCOL
