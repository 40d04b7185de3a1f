"""Fleetcast in the contest: one deployment to a company's machines, each run in a company of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.swarm.contest import MIB, Field, Run, told
from fleetcast.model.limits import KV_POLL_INTERVAL_S, REGION_REPORT_INTERVAL_S
from lab.company import Choices, Company, Distribution
from lab.payload import Payload

AT_EASE = {"kv_poll_interval_s": float(KV_POLL_INTERVAL_S), "report_interval_s": float(REGION_REPORT_INTERVAL_S)}
"""The region's pace is the default one again: the lab's own is for tests, which wait for what regions say."""


def run(field: Field, directory: Path, choices: Choices) -> Run:
    """Build, replicate, deploy. ``directory``: must not exist, and does not afterwards."""
    choices = replace(choices, region={**AT_EASE, **choices.region})
    with Company(directory, hub=field.hub, origin=field.origin, choices=choices) as company:
        release = company.publish(Payload(field.size_bytes, field.files))
        company.drop_main_copy()
        company.join(field.machines)
        distribution = company.distribute(release, field.machines, field.run_s_max, start=field.start)
    return _told(field, distribution, release.chunks)


def _told(field: Field, distribution: Distribution, chunks: int) -> Run:
    received = distribution.machines.values()
    cpu_s, rss_bytes = distribution.cpu_s, distribution.peak_rss_bytes
    agents = [name for name in cpu_s if name.startswith("agent-")]
    return told(
        field,
        distribution.times_s,
        sum(cpu_s.values()),
        cpu_agents_s=sum(cpu_s[name] for name in agents),
        cpu_region_s=cpu_s["region"],
        cpu_control_s=cpu_s["control"],
        origin_over_size=sum(each.origin_bytes for each in received) / field.size_bytes,
        peers_over_size=sum(each.peer_bytes for each in received) / field.size_bytes,
        local_over_size=sum(each.local_bytes for each in received) / field.size_bytes,
        rss_mib=max(rss_bytes[name] for name in agents) / MIB,
        goal_lag_s=distribution.goal_lag_s,
        chunks=chunks,
    )
