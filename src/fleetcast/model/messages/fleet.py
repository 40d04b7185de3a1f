"""People to control: the fleet at a glance, regions and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fleetcast.model.deployment import ByteCounts, Deployment
from fleetcast.model.ids import RegionName
from fleetcast.model.machine import LabelsToGive, Machine
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.protocol import PROTOCOL, Protocol
from fleetcast.model.region_rollback import RecordedRollback
from fleetcast.model.replication import CopyProgress
from fleetcast.model.report import MachineAnswer


@dataclass(frozen=True, slots=True)
class RegionStatus:
    """``machines`` counts those that are not retired."""

    name: RegionName
    drained: bool
    last_report_age_s: float | None
    """``None``: it never reported."""
    machines: int
    alarms: tuple[str, ...] = ()
    """What a person should know: of the region itself, or beginning with a machine's name."""
    silent_at_ms: int | None = None
    """Since when it is drained for its silence or as a new one (database's clock, UTC); ``None``: it is not, or by a person."""
    catching_up: bool = False
    """It is back from its silence, and counts again once its bucket has every release."""


@dataclass(frozen=True, slots=True)
class StoredTotals:
    """What there is of artifacts; equal files count once. What is being collected does not count."""

    main_artifacts: int
    main_bytes: int
    region_artifacts: int
    """That every region's bucket has, or is to have."""
    region_bytes: int
    pinned: int


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """``GET /v1/status``. Machines are counted by region here; ``GET /v1/machines`` lists them."""

    version: str
    services: tuple[ServiceSpec, ...]
    regions: tuple[RegionStatus, ...]
    deployments: tuple[Deployment, ...]
    """The newest of each service."""
    alarms: tuple[str, ...] = ()
    """What a person should know of control itself."""
    stored: StoredTotals | None = None
    """``None``: from a control that does not say."""
    region_rollbacks: tuple[RecordedRollback, ...] = ()
    """Made at regions past control, those that stand."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class RegionPage:
    """``GET /v1/regions?after=&limit=``: by name."""

    items: tuple[RegionStatus, ...]
    next: str | None
    """``after`` of the next page; ``None``: this is the last."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class LabelsRequest:
    """``PUT /v1/machines/{id}/labels``: all that people give this machine; what is not in it is taken away."""

    labels: LabelsToGive
    instead_of: Mapping[str, str] | None = None
    """What the caller saw and changed: refused if somebody else has given others meanwhile. ``None``: whatever there is."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class MachinePage:
    """``GET /v1/machines?region=&after=&limit=``: those that are not retired, by id."""

    items: tuple[Machine, ...]
    next: str | None
    """``after`` of the next page; ``None``: this is the last."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class MachineDetail:
    """``GET /v1/machines/{id}?wait_s=``: held until its region has answered or the wait is over. Times are the database's
    clock, UTC milliseconds."""

    machine: Machine
    """As its region reported it last."""
    given: Mapping[str, str]
    """Labels from people. The machine has taken them up where ``machine.labels`` says the same."""
    joined_at_ms: int
    last_seen_at_ms: int
    """Good to half a minute."""
    retired_at_ms: int | None
    region_drained: bool
    region_report_age_s: float | None
    waited_s: float
    """How long its region was given for an answer; 0: it was not asked."""
    answer: MachineAnswer | None
    """Its region's, newer than the question; ``None``: there was none in time."""
    now_ms: int
    """The database's clock when this was said."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class RegionDeployment:
    """A deployment under way, and one region's part of it. Counts of machines."""

    deployment: Deployment
    expected: int
    reporting: int
    fetched: int
    active: int
    failed: int
    bytes: ByteCounts


@dataclass(frozen=True, slots=True)
class RegionDetail:
    """``GET /v1/regions/{name}``."""

    region: RegionStatus
    started_age_s: float
    """Since its process last said hello."""
    silent: int
    """Of its machines: not heard of for two minutes."""
    copies: tuple[CopyProgress, ...]
    """That its bucket lacks."""
    deployments: tuple[RegionDeployment, ...]
    """Those under way that concern it, newest first."""
    protocol: Protocol = PROTOCOL


class Kind(StrEnum):
    """What a name may be the name of."""

    SERVICE = "service"
    DEPLOYMENT = "deployment"
    REGION = "region"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Named:
    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class WordMeaning:
    """``GET /v1/names?word=``: what a person may mean."""

    named: tuple[Named, ...]
    """What has exactly this name."""
    near: tuple[Named, ...]
    """Names like it, the nearest first; empty when something has the very name."""
    protocol: Protocol = PROTOCOL
