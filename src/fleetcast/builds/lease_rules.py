"""What becomes of a job whose worker is silent, gave up, or never came (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.builds.policy import retry_s
from fleetcast.model.build import BuildStatus
from fleetcast.model.limits import BUILD_RETRY_S, BUILD_RUNNING_S_MAX, BUILD_SERVICE_RUNNING_MAX


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What an operator sets. Seconds, but for the counts."""

    attempts_max: int
    """Claims of one job, the first included."""
    queued_s_max: float
    """How long a job may wait for a worker, counted anew each time it returns to the queue."""
    silence_s_max: float
    """How long a worker may go without a heartbeat."""
    running_s_max: float = BUILD_RUNNING_S_MAX
    """How long one attempt may take with heartbeats. Workers keep shorter limits; this one ends a build (law 11) when a
    worker's clock or code does not."""
    service_running_max: int = BUILD_SERVICE_RUNNING_MAX
    """Builds of one service that run at a time; an urgent one may be one more."""
    retry_s: float = BUILD_RETRY_S
    """See :func:`~fleetcast.builds.policy.retry_s`."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What the rules look at of a live job. Times in UTC milliseconds."""

    status: BuildStatus
    attempt: int
    queued_at_ms: int
    claimed_at_ms: int
    """Of the last claim; meaningless while QUEUED."""
    last_heartbeat_ms: int
    """Likewise. A claim counts as one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    status: BuildStatus
    """QUEUED, FAILED, or what an attempt said itself."""
    reason: str
    after_s: float = 0.0
    """Of QUEUED: how long before it may be claimed again."""


def judge(lease: Lease, limits: QueueLimits, now_ms: int, listened_ms: int | None = None) -> Verdict | None:
    """What the reaper does with a job; ``None``: leave it.

    ``listened_ms``: for how long heartbeats could have been heard; ``None``: always. A worker was silent for no longer.
    """
    if lease.status is BuildStatus.QUEUED:
        if now_ms - lease.queued_at_ms > limits.queued_s_max * 1000:
            return Verdict(BuildStatus.FAILED, f"no worker took it within {limits.queued_s_max:g} s: are workers running?")
        return None
    if lease.status is not BuildStatus.RUNNING:
        return None
    if now_ms - lease.claimed_at_ms > limits.running_s_max * 1000:
        return Verdict(BuildStatus.FAILED, f"not finished within {limits.running_s_max:g} s")
    silence_ms = now_ms - lease.last_heartbeat_ms
    if listened_ms is not None:
        silence_ms = min(silence_ms, listened_ms)
    if silence_ms > limits.silence_s_max * 1000:
        return given_up(lease.attempt, limits, f"no heartbeat for {silence_ms // 1000} s")
    return None


def given_up(attempt: int, limits: QueueLimits, reason: str) -> Verdict:
    """An attempt ended through no fault of the build: back to the queue while attempts are left."""
    if attempt < limits.attempts_max:
        after_s = retry_s(attempt, limits.retry_s)
        return Verdict(BuildStatus.QUEUED, f"attempt {attempt} of {limits.attempts_max}: {reason}", after_s)
    return Verdict(BuildStatus.FAILED, f"{reason}; that was attempt {attempt} of {limits.attempts_max}")
