"""One region's part of a deployment, for people to look at. Nothing is decided by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetcast.model.deployment import ByteCounts
from fleetcast.model.ids import RegionName
from fleetcast.model.report import MachineProgress


@dataclass(frozen=True, slots=True)
class RegionPicture:
    """A region that holds machines the deployment means, or whose bucket it waits for. Counts of machines."""

    name: RegionName
    expected: int
    """By the inventory."""
    reporting: int = 0
    fetched: int = 0
    active: int = 0
    failed: int = 0
    phases: Mapping[str, int] = field(default_factory=dict)
    """Reporting machines by :class:`~fleetcast.model.report.Phase`; empty from a region of an older version."""
    bytes: ByteCounts = field(default_factory=ByteCounts)
    last_report_age_s: float | None = None
    """Of the region's last report, when this was answered; ``None``: it never reported."""
    copy: str = ""
    """Its bucket's :class:`~fleetcast.model.replication.ReplicaStatus`; empty: there is nothing to copy yet."""
    copy_bytes: int = 0
    copy_bytes_total: int = 0
    """Of the content; 0: unknown."""
    waiting_for: str = ""
    """What keeps it from being done."""
    machines: tuple[MachineProgress, ...] = ()
    """A sample, see :class:`~fleetcast.model.report.DeploymentRollup`."""
