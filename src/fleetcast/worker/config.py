"""What a worker needs to know to start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fleetcast.model import limits
from fleetcast.worker.sandbox import BuildLimits
from fleetcast.worker.scaling import Bounds


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
    slots: int = 1
    """Builds at a time; at first, where ``scale`` is set."""
    scale: Bounds | None = None
    """Their number follows the queue within these."""
    drain_s_max: float = 0
    """How long a worker that is stopping goes on with what runs; 0: it is handed back at once."""
    sandbox: Literal["auto", "required", "off"] = "auto"
    """``auto``: builds run in one where the host can; ``required``: or the worker does not start."""
    build_readable: tuple[Path, ...] = ()
    """What builds in a sandbox may read beside the system."""
    build_environment: Mapping[str, str] = field(default_factory=dict)
    """Added to what every build sees; a recipe's wins over it."""
    build_limits: BuildLimits = field(default_factory=BuildLimits)
    mirrors_bytes_max: int = limits.MIRRORS_BYTES_MAX
    """Mirrors beyond it go, the least recently used first."""
    secret_files: tuple[Path, ...] = ()
    """Hidden from builds in a sandbox even where what is above them is shown; the signing key is anyway."""
