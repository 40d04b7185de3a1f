"""What an agent is told when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleetcast.agent.retention import KeepMore
from fleetcast.agent.supervisor import Choice
from fleetcast.model import limits
from fleetcast.model.machine import Machine
from fleetcast.swarm.bandwidth import Bandwidth


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    machine: Machine
    region_url: str
    token: str = field(repr=False)
    root: Path
    """Everything this agent keeps; one agent at a time may use it."""
    worker_public_keys: tuple[Path, ...]
    """Builders whose artifacts may run here: ed25519, PEM."""
    peer_host: str = "127.0.0.1"
    peer_port: int = 0
    """Where peers fetch from this machine; 0: any free port."""
    rack_bias: bool = True
    """Off: its peers are not told where it is, and are all the same to it."""
    bandwidth: Bandwidth = field(default_factory=Bandwidth)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to what services see; wins over the environment of a recipe, being about this one machine."""
    supervisor: Choice = "auto"
    """Of services: systemd, the agent itself, or systemd where it can."""
    observe: bool = False
    """What was changed on this machine is reported, and not put right."""
    keep_more: KeepMore = field(default_factory=KeepMore)
    """Of each service, beside the releases that it needs."""
    disk_free_percent: int = limits.DISK_FREE_PERCENT
    """Of the disk that ``root`` is on: releases leave it free."""
    drift_look_s: float = limits.DRIFT_LOOK_S
    stop_grace_s: float = limits.STOP_GRACE_S
    """Between asking a service to end and killing it."""
    settle_s: float = limits.ACTIVATION_SETTLE_S
    health_interval_s: float = limits.HEALTH_INTERVAL_S
    goal_wait_s: float = limits.GOAL_WAIT_S_MAX
