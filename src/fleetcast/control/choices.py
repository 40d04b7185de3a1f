"""What an operator may choose of control, and control takes as it is: the settings' part of its configuration.

It imports next to nothing, since whoever reads settings imports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleetcast.model import limits


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlChoices:
    """Times in seconds."""

    github_hook_secrets: Path = Path()
    """File with the secrets of GitHub's webhooks, one a line, mode 0600; empty: webhooks of GitHub are refused."""
    gitlab_hook_secrets: Path = Path()
    """File with the secret and signing tokens (``whsec_...``) of GitLab's webhooks, one a line, mode 0600; empty: refused."""
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
    check_commands: bool = False
    """Whether outside checks of plans may run commands here, as the user that control runs as."""
    heartbeat_interval_s: float = limits.HEARTBEAT_INTERVAL_S
    """How often a worker says that it is alive while it builds."""
    heartbeat_silence_s_max: float = limits.HEARTBEAT_SILENCE_S_MAX
    """A RUNNING build whose worker was silent for so long goes back to the queue."""
    reaper_interval_s: float = limits.REAPER_INTERVAL_S
    """How often control looks for builds whose worker is silent or which take too long."""
    build_attempts_max: int = limits.BUILD_ATTEMPTS_MAX
    """How often a build is claimed before it is FAILED: workers that vanish, or hand it back."""
    build_command_s_max: float = limits.BUILD_COMMAND_S_MAX
    """How long a build command may run."""
    build_pack_upload_s_max: float = limits.BUILD_PACK_UPLOAD_S_MAX
    """How long chunking and uploading a build's output may take."""
    build_retry_s: float = limits.BUILD_RETRY_S
    """A build whose worker vanished or handed it back is tried again at once, then after so long, doubling."""
    build_service_running_max: int = limits.BUILD_SERVICE_RUNNING_MAX
    """Builds of one service that run at a time; an urgent one may be one more."""
    build_queued_s_max: float = limits.BUILD_QUEUED_S_MAX
    """A build that no worker claimed for so long is FAILED."""
    build_retention_days: float = limits.BUILD_RETENTION_DAYS
    """A build that ended so many days ago is forgotten with its log; its artifact and its figures stay."""
    replication_check_interval_s: float = limits.REPLICATION_CHECK_INTERVAL_S
    """How often control looks into the buckets for copies that are not complete."""
    replication_recheck_interval_s: float = limits.REPLICATION_RECHECK_INTERVAL_S
    """How often it looks again at a copy that is complete."""
    region_silence_s_max: float = limits.REGION_SILENCE_S_MAX
    """A region that said nothing for so long is drained by itself, and counts again once it is back and has every release."""
    replicate_s_max: float = limits.REPLICATE_S_MAX
    """A deployment whose artifact is not in every bucket after so long is FAILED."""
    distribute_s_max: float = limits.DISTRIBUTE_S_MAX
    """A deployment that has not reached every machine after so long is FAILED."""
    goal_lifetime_s: float = limits.GOAL_LIFETIME_S
    """How long machines act on a goal; control renews it at half of that."""
    main_retention_days: float = limits.MAIN_RETENTION_DAYS
    """An artifact that was neither built nor deployed for so many days leaves the main store, unless it is needed or pinned:
    to deploy it again, it is built again."""
    main_retention_count: int = limits.MAIN_RETENTION_COUNT
    """So many artifacts of each service stay in the main store beside those that are needed or pinned."""
    main_retention_bytes: int = limits.MAIN_RETENTION_BYTES
    """Beyond so much in the main store, what was used longest ago leaves it; 0: no bound."""
    region_retention_days: float = limits.REGION_RETENTION_DAYS
    """A release that was not deployed for so many days leaves the regions' buckets, unless it is needed or pinned: its next
    deployment copies it again."""
    region_retention_count: int = limits.REGION_RETENTION_COUNT
    """So many releases of each service stay in the regions' buckets beside those that are needed or pinned."""
    region_retention_bytes: int = limits.REGION_RETENTION_BYTES
    """Beyond so much in a region's bucket, what was used longest ago leaves all of them; 0: no bound."""
    retention_grace_s: float = limits.RETENTION_GRACE_S
    """What was built or deployed within so long stays in any case."""
    retention_interval_s: float = limits.RETENTION_INTERVAL_S
    """How often control looks for what is to be collected."""
