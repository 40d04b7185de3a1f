"""People to control: what it sees of the installation, for ``fleetcast doctor``."""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.protocol import PROTOCOL, Protocol


@dataclass(frozen=True, slots=True)
class RegionDiagnosis:
    name: RegionName
    drained: bool
    last_report_age_s: float | None
    """``None``: it never reported."""
    bucket_error: str = ""
    """Why control cannot look into its bucket; empty: it can."""
    alarms: tuple[str, ...] = ()
    """What it told last that a person should know: a clock that is wrong, a goal refused."""


@dataclass(frozen=True, slots=True)
class ControlDiagnosis:
    """A control process of the installation, by its own word."""

    place: str
    """Its host and the address of its API."""
    version: str
    clock_ahead_ms: int
    """How far its host's clock is ahead of the database's."""
    last_seen_age_s: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``GET /v1/diagnosis``."""

    version: str
    regions: tuple[RegionDiagnosis, ...]
    machines: int
    """That count: not retired."""
    silent: tuple[MachineId, ...]
    """Some of those that nobody has heard of for two minutes."""
    more_silent: bool = False
    """There are more."""
    main_bucket_error: str = ""
    """Why control cannot look into the main store; empty: it can."""
    polled: int = 0
    """Services whose trunk control looks at by itself."""
    git_error: str = ""
    """Why it cannot; empty: it can."""
    controls: tuple[ControlDiagnosis, ...] = ()
    """Control processes that work on its database, or did so within the last hour and did not say that they end. None: control
    is too old to say."""
    protocol: Protocol = PROTOCOL
