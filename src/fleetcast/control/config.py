"""What the control process is told. Where these come from is the business of ``launch``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleetcast.http.tokens import TokenSet
from fleetcast.model import limits


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlConfig:
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
    """The global key-value store."""
    main_bucket: Path
    """Directory of the main blob store."""
    worker_public_keys: tuple[Path, ...]
    """PEM files: builders whose signature on a root is accepted."""

    github_hook_secrets: Path = Path()
    """File of the secrets that webhooks of GitHub are signed with, one a line; empty: none are expected."""
    gitlab_hook_secrets: Path = Path()
    """The same for GitLab; one that begins with ``whsec_`` is a signing token."""
    github_url: str = "https://github.com"
    """What clone URLs of repositories on GitHub begin with."""
    github_api_url: str = "https://api.github.com"
    """Where commit statuses are told; of GitHub Enterprise Server https://HOST/api/v3."""
    github_status_token: Path = Path()
    """File with a token that may write commit statuses, mode 0600; empty: GitHub is told none."""
    gitlab_url: str = "https://gitlab.com"
    """What clone URLs of repositories on GitLab begin with."""
    gitlab_api_url: str = "https://gitlab.com/api/v4"
    """Where commit statuses are told."""
    gitlab_status_token: Path = Path()
    """File with a token that may write commit statuses (scope api), mode 0600; empty: GitLab is told none."""
    commit_status_link: str = ""
    """Where a commit status points to: an address with {kind}, {id}, {service} or {commit} in it; empty: nowhere."""

    heartbeat_interval_s: float = limits.HEARTBEAT_INTERVAL_S
    heartbeat_silence_s_max: float = limits.HEARTBEAT_SILENCE_S_MAX
    reaper_interval_s: float = limits.REAPER_INTERVAL_S
    claim_poll_interval_s: float = limits.CLAIM_POLL_INTERVAL_S
    """How often it looks, for all workers that wait, for builds that another process queued or whose next attempt is due."""
    build_attempts_max: int = limits.BUILD_ATTEMPTS_MAX
    build_command_s_max: float = limits.BUILD_COMMAND_S_MAX
    build_pack_upload_s_max: float = limits.BUILD_PACK_UPLOAD_S_MAX
    build_retry_s: float = limits.BUILD_RETRY_S
    build_service_running_max: int = limits.BUILD_SERVICE_RUNNING_MAX
    build_queued_s_max: float = limits.BUILD_QUEUED_S_MAX
    build_retention_days: float = limits.BUILD_RETENTION_DAYS
    replication_check_interval_s: float = limits.REPLICATION_CHECK_INTERVAL_S
    replication_recheck_interval_s: float = limits.REPLICATION_RECHECK_INTERVAL_S
    replicate_s_max: float = limits.REPLICATE_S_MAX
    distribute_s_max: float = limits.DISTRIBUTE_S_MAX
    goal_lifetime_s: float = limits.GOAL_LIFETIME_S
    kv_history_revisions: int = limits.KV_HISTORY_REVISIONS
