"""How often progress is told while things move. Pure.

A person who watches wants news every second; 20,000 agents that each tell their byte counts every second would keep a region
from everything else. So the pace follows from the number of machines, and a small installation is a lively one.
"""

from __future__ import annotations

from fleetcast.model.limits import PROGRESS_INTERVAL_S_MIN, PROGRESS_MACHINES_PER_S
from fleetcast.model.replication import CopyProgress
from fleetcast.model.report import DeploymentRollup


def progress_interval_s(machines: int, interval_s: float) -> float:
    """Between two reports on what moves, in a region of so many machines; ``interval_s`` is the usual one, and the longest."""
    return min(interval_s, max(PROGRESS_INTERVAL_S_MIN, machines / PROGRESS_MACHINES_PER_S))


def standing(rollups: tuple[DeploymentRollup, ...], copies: tuple[CopyProgress, ...]) -> object:
    """What a region reports of its deployments and copies, without what changes by itself: equal where nothing moved."""
    counts = tuple(
        (rollup.deployment, rollup.reporting, rollup.fetched, rollup.active, rollup.failed, rollup.bytes, rollup.cohort)
        for rollup in rollups
    )
    return counts, tuple((copy.digest, copy.bytes_copied) for copy in copies)
