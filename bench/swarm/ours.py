"""Fleetcast in the benchmark: one deployment to a company's machines, each run in a company of its own."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.company import Choices, Company, Distribution
from lab.host import Host
from lab.payload import Payload

GIB = 1 << 30
MIB = 1 << 20


@dataclass(frozen=True)
class Delivery:
    """What one run took. CPU seconds (user and system) from the trigger to the last machine."""

    last_s: float
    median_s: float
    times_s: tuple[float, ...]
    cpu_s: float
    """Every process, the origin and the tracker included."""
    cpu_agents_s: float
    cpu_region_s: float
    cpu_control_s: float
    cpu_s_per_gib: float
    """Per GiB delivered."""
    origin_over_size: float
    peer_over_size: float
    local_over_size: float
    """Each summed over machines."""
    rss_mib: float
    """The largest agent's peak."""
    goal_lag_s: float
    """Between control's transaction and the region's copy of the goal, from which the times count."""
    chunks: int


def deliver(
    directory: Path, hub: Host, origin: Host, machines: Sequence[Host], payload: Payload, s_max: float, choices: Choices
) -> Delivery:
    """Build, replicate and deploy ``payload``. ``directory``: must not exist, and does not afterwards."""
    with Company(directory, hub=hub, origin=origin, choices=choices) as company:
        release = company.publish(payload)
        company.drop_main_copy()
        company.join(machines)
        told = company.distribute(release, machines, s_max)
    return _figures(told, release.content_bytes, release.chunks)


def _figures(told: Distribution, size_bytes: int, chunks: int) -> Delivery:
    received = told.machines.values()
    agents_s = sum(cpu_s for name, cpu_s in told.cpu_s.items() if name.startswith("agent-"))
    cpu_s = sum(told.cpu_s.values())
    return Delivery(
        last_s=told.times_s[-1],
        median_s=statistics.median(told.times_s),
        times_s=tuple(told.times_s),
        cpu_s=cpu_s,
        cpu_agents_s=agents_s,
        cpu_region_s=told.cpu_s["region"],
        cpu_control_s=told.cpu_s["control"],
        cpu_s_per_gib=cpu_s / (size_bytes * len(received) / GIB),
        origin_over_size=sum(each.origin_bytes for each in received) / size_bytes,
        peer_over_size=sum(each.peer_bytes for each in received) / size_bytes,
        local_over_size=sum(each.local_bytes for each in received) / size_bytes,
        rss_mib=max(rss for name, rss in told.peak_rss_bytes.items() if name.startswith("agent-")) / MIB,
        goal_lag_s=told.goal_lag_s,
        chunks=chunks,
    )
