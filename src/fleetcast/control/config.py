"""What the control process is told. Where these come from is the business of ``launch``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleetcast.control.choices import ControlChoices
from fleetcast.http.tokens import TokenSet
from fleetcast.model import limits
from fleetcast.stores.etcd_access import EtcdAccess
from fleetcast.stores.s3_credentials import S3Place


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlConfig(ControlChoices):
    """Times in seconds. Several control processes of one installation share databases, KV, bucket and data key."""

    host: str = "127.0.0.1"
    port: int = 0
    """Of the API; 0 picks one."""
    data_host: str = "127.0.0.1"
    data_port: int = 0
    """Of the data port in front of the main store; 0 picks one."""
    data_url: str = ""
    """How others reach that port; empty: by its host and port."""
    data_key: Path
    """File of the secret that signs grants on the main store; made when it is missing."""
    tokens: TokenSet
    """Of every role, the agents' too: theirs is known here, and may do nothing."""
    database_url: str
    replication_database_url: str = ""
    """Of the replication status; empty: the same database."""
    notice_database_url: str = ""
    """Of the same database, where a session is kept for whoever connects: to listen for notices; empty: as ``database_url``."""
    kv_path: Path
    """The global key-value store: a SQLite file, made on the first start."""
    kv_etcd: EtcdAccess | None = None
    """Where it is instead of in that file."""
    main_bucket: Path
    """Directory of the main blob store, where that is one."""
    main_s3: S3Place | None = None
    """Where it is if it is none: no data port then, workers and regions reach it themselves."""
    worker_public_keys: tuple[Path, ...]
    """PEM files: builders whose signature on a root is accepted."""

    claim_poll_interval_s: float = limits.CLAIM_POLL_INTERVAL_S
    """How often it looks, for all workers that wait, for builds that another process queued or whose next attempt is due."""
    kv_history_revisions: int = limits.KV_HISTORY_REVISIONS
