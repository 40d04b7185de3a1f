"""What machines run (actual), and how regions sum it up for control."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from fleetcast.model.deployment import ByteCounts
from fleetcast.model.generation import Generation
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import DeploymentId, MachineId, ServiceName
from fleetcast.model.spelling import Natural

_Reason = TypeVar("_Reason", bound=Hashable)


class Phase(StrEnum):
    """How far a machine is with a goal's target."""

    FETCHING = "FETCHING"
    FETCHED = "FETCHED"
    """On disk, verified, not yet its turn (wave or permit)."""
    ACTIVATING = "ACTIVATING"
    ACTIVE = "ACTIVE"
    """Switched, started, health check passed."""
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One service on one machine. Describes the newest goal the machine knows for it."""

    service: ServiceName
    environment: str
    generation: Generation
    deployment: DeploymentId
    target: ReleaseRef
    phase: Phase
    running: ReleaseRef | None
    """What ``current`` points to, with its health check passed; ``None``: nothing."""
    bytes: ByteCounts
    """Of the target's content, for this deployment. All ``local`` when it was on disk already."""
    target_bytes: Natural
    """Content size of the target; 0 until its root is known."""
    active_age_ms: Natural
    """How long ago the health check passed, by the machine's monotonic clock; 0 unless ACTIVE."""
    waiting_for: str = ""
    error: str = ""
    removed: bool = False
    """The goal is a tombstone: ACTIVATING means that the service is being stopped and cleared away, ACTIVE that it is gone."""
    output: tuple[str, ...] = ()
    """The last lines of what failed; at most ``FAILURE_LINES_MAX``."""
    deaths: Natural = 0
    """How often in a row the process of what is active has died, lately."""
    drift: tuple[str, ...] = ()
    """What on this machine is not as the release that runs says, a line each; at most ``DRIFT_LINES_MAX`` + 1."""


@dataclass(frozen=True, slots=True)
class MachineAnswer:
    """What a region knows of one machine that somebody asked about."""

    machine: MachineId
    heard_age_ms: Natural | None
    """How long ago the machine last reported; ``None``: this region has not heard of it."""
    services: tuple[ServiceReport, ...] = ()
    """As it last reported them, by environment and name."""
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedFailure:
    """A machine that failed a deployment, with the reason."""

    machine: MachineId
    error: str


def by_reason(said: Iterable[tuple[MachineId, _Reason]]) -> dict[_Reason, list[MachineId]]:
    """Machines of which the same is to be said, together: a fleet that fails, fails for one reason."""
    found: dict[_Reason, list[MachineId]] = {}
    for machine, reason in said:
        found.setdefault(reason, []).append(machine)
    return found


@dataclass(frozen=True, slots=True)
class MachineProgress:
    """One machine in a deployment, for people to look at."""

    machine: MachineId
    phase: Phase | None
    """``None``: it has not answered to this goal yet."""
    bytes: ByteCounts = field(default_factory=ByteCounts)
    target_bytes: Natural = 0
    """0 until it knows."""
    note: str = ""
    """What it waits for, or what went wrong."""
    going_back: bool = False
    """It FAILED, and the release before is not up again yet."""


@dataclass(frozen=True, slots=True)
class CohortCounts:
    """Of the machines of one region that a goal's waves have let in so far; who is in none of the four is on its way."""

    generation: Generation
    """Of the goal by whose cohorts this was counted."""
    inside: Natural
    active: Natural
    """ACTIVE, and up."""
    failed: Natural
    flapping: Natural
    """Were ACTIVE, and have died ``FLAPS_MAX`` times in a row since."""
    silent: Natural
    """Have not been heard of for ``MACHINE_SILENCE_S_MAX``."""
    gathering: bool = False
    """The region process has listened for a shorter time than that, since it was started or stopped: whoever it has not heard
    of, or not again, may be well."""


@dataclass(frozen=True, slots=True)
class DeploymentRollup:
    """One region's sum of its machines' reports on one deployment."""

    deployment: DeploymentId
    service: ServiceName
    environment: str
    generation: Generation
    """The lowest among the reporting machines."""
    selected: Natural
    """Machines known to this region that the goal selects."""
    reporting: Natural
    fetched: Natural
    """FETCHED, ACTIVATING, ACTIVE, or FAILED after the fetch."""
    active: Natural
    failed: Natural
    bytes: ByteCounts
    last_active_age_ms: Natural
    """How long ago the last of the active ones became so; 0 when none is."""
    failures: tuple[NamedFailure, ...] = ()
    """At most ``ROLLUP_FAILURES_MAX``."""
    waiting: tuple[NamedFailure, ...] = ()
    """Some that are not done and what they wait for, for people; at most ``ROLLUP_FAILURES_MAX``."""
    phases: Mapping[str, Natural] = field(default_factory=dict)
    """Reporting machines by :class:`Phase`; empty from a region of an older version."""
    machines: tuple[MachineProgress, ...] = ()
    """Some of the selected machines one by one, those that are not done first; at most ``ROLLUP_MACHINES_MAX``."""
    cohort: CohortCounts | None = None
    """``None``: from a region of an older version. No wave goes on without it."""
