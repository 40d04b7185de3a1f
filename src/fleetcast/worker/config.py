"""What a worker needs to know to start."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fleetcast.model import limits


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Times are seconds. What a build may take is control's to say, with each claim."""

    name: str
    control_url: str
    token: str = field(repr=False)
    workspace: Path
    """Mirrors and worktrees. This worker's alone; made on the first start."""
    signing_key: Path
    """Ed25519 private key, PEM, with which artifacts are signed."""
    claim_wait_s: float = limits.CLAIM_WAIT_S_MAX
    """How long control may hold a claim call."""
    poll_interval_s: float = limits.CLAIM_POLL_INTERVAL_S
    """Least time between two claim calls, where control does not hold them."""
    kill_grace_s: float = limits.BUILD_KILL_GRACE_S
    """Between asking a build's processes to end and making them."""
