"""What a region process needs to know to start."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fleetcast.model import limits
from fleetcast.model.ids import RegionName
from fleetcast.stores.etcd_access import EtcdAccess
from fleetcast.stores.limiter import Limiter
from fleetcast.stores.s3_credentials import S3Place


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionConfig:
    """Times are seconds. Port 0 picks a free one."""

    region: RegionName
    host: str = "127.0.0.1"
    port: int = 0
    control_url: str
    token: str = field(repr=False)
    """Ours, shown to control."""
    agent_token: str = field(repr=False)
    """The one that agents show us."""
    kv_path: Path
    """The regional key-value store's SQLite file; made on the first start."""
    kv_etcd: EtcdAccess | None = None
    """Where that store is instead."""
    bucket: Path
    """Root directory of the region's blob store, made on the first start; unless ``s3`` says where that is."""
    s3: S3Place | None = None
    """It is still read through the data port."""
    data_host: str = "127.0.0.1"
    data_port: int = 0
    data_url: str = ""
    """How control and agents reach the data port; empty: by its host and port."""
    origin: Limiter = field(default_factory=Limiter)
    """Of what is read from the bucket through that port; may be changed at any time."""
    background: bool = True
    """Mark the connections of that port, and those on which copies arrive."""
    copies: Limiter = field(default_factory=Limiter)
    """Of what is read from the main store; may be changed at any time."""
    data_key: Path
    """The key that signs grants on the bucket, 32 raw bytes, mode 0600; made on the first start."""
    ticket_key: Path
    """The ed25519 key, PEM, that signs swarm tickets, its public half beside it in ``.pub``; made on the first start."""
    worker_public_keys: tuple[Path, ...]
    """PEM files of the workers whose roots are believed."""
    kv_poll_interval_s: float = limits.KV_POLL_INTERVAL_S
    kv_watch: bool = True
    """Have control hold the question for goals and artifacts between two polls."""
    report_interval_s: float = limits.REGION_REPORT_INTERVAL_S
    agent_report_interval_s: float = limits.AGENT_REPORT_INTERVAL_S
    goal_polls_max: int = limits.GOAL_POLLS_MAX
    """Agents' questions for goals that are held at a time."""
    machine_silence_s_max: float = limits.MACHINE_SILENCE_S_MAX
    permit_lifetime_s: float = limits.PERMIT_LIFETIME_S
    copy_failing_s_max: float = limits.COPY_FAILING_S_MAX
    bucket_recheck_interval_s: float = limits.REPLICATION_RECHECK_INTERVAL_S
    """How often a complete copy is looked at again."""
