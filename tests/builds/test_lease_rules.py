"""What the reaper decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.builds.lease_rules import Lease, QueueLimits, given_up, judge
from fleetcast.model.build import BUILD_TRANSITIONS, BuildStatus

LIMITS = QueueLimits(attempts_max=3, queued_s_max=7200, silence_s_max=600, running_s_max=1800)

leases = st.builds(
    Lease,
    status=st.sampled_from(BuildStatus),
    attempt=st.integers(0, 5),
    queued_at_ms=st.integers(0, 10**8),
    claimed_at_ms=st.integers(0, 10**8),
    last_heartbeat_ms=st.integers(0, 10**8),
)


def _running(attempt: int, heartbeat_s: int, claimed_s: int = 0) -> Lease:
    return Lease(BuildStatus.RUNNING, attempt, 0, claimed_s * 1000, heartbeat_s * 1000)


def test_ten_minutes_of_silence_give_the_build_to_another_worker() -> None:
    assert judge(_running(1, 0), LIMITS, 600_000) is None
    verdict = judge(_running(1, 0), LIMITS, 600_001)
    assert verdict is not None
    assert verdict.status is BuildStatus.QUEUED
    assert verdict.reason == "attempt 1 of 3: no heartbeat for 600 s"


@pytest.mark.parametrize("silence_s", [2, 60, 600])
def test_silence_is_exact_to_the_millisecond_whatever_is_chosen(silence_s: float) -> None:
    limits = QueueLimits(attempts_max=3, queued_s_max=7200, silence_s_max=silence_s)
    running = _running(1, 100, claimed_s=100)
    last_ms = 100_000 + int(silence_s * 1000)
    assert judge(running, limits, last_ms) is None
    verdict = judge(running, limits, last_ms + 1)
    assert verdict is not None
    assert (verdict.status, verdict.after_s) == (BuildStatus.QUEUED, 0)


def test_a_second_loss_waits_before_the_next_attempt() -> None:
    verdict = judge(_running(2, 0), LIMITS, 700_000)
    assert verdict is not None
    assert (verdict.status, verdict.after_s) == (BuildStatus.QUEUED, LIMITS.retry_s)


def test_the_last_attempt_ends_the_build() -> None:
    verdict = judge(_running(3, 0), LIMITS, 700_000)
    assert verdict is not None
    assert verdict.status is BuildStatus.FAILED
    assert verdict.reason == "no heartbeat for 700 s; that was attempt 3 of 3"


def test_a_job_that_nobody_takes_fails() -> None:
    lease = Lease(BuildStatus.QUEUED, 0, 0, 0, 0)
    assert judge(lease, LIMITS, 7_200_000) is None
    verdict = judge(lease, LIMITS, 7_200_001)
    assert verdict is not None
    assert verdict.status is BuildStatus.FAILED
    assert "are workers running?" in verdict.reason


def test_heartbeats_do_not_keep_an_attempt_alive_for_ever() -> None:
    verdict = judge(_running(1, heartbeat_s=1800), LIMITS, 1_800_001)
    assert verdict is not None
    assert verdict.status is BuildStatus.FAILED
    assert verdict.reason == "not finished within 1800 s"


@given(leases, st.integers(0, 2 * 10**8))
def test_a_verdict_is_a_legal_transition_with_a_reason(lease: Lease, now_ms: int) -> None:
    verdict = judge(lease, LIMITS, now_ms)
    if verdict is not None:
        assert verdict.status in BUILD_TRANSITIONS[lease.status]
        assert verdict.reason


@given(leases, st.integers(0, 2 * 10**8), st.integers(0, 10**8))
def test_what_is_doomed_now_is_doomed_later(lease: Lease, now_ms: int, more_ms: int) -> None:
    if judge(lease, LIMITS, now_ms) is not None:
        assert judge(lease, LIMITS, now_ms + more_ms) is not None


@given(st.integers(1, 10), st.integers(1, 10))
def test_attempts_run_out(attempt: int, attempts_max: int) -> None:
    limits = QueueLimits(attempts_max, 1, 1)
    requeued = given_up(attempt, limits, "worker stopping").status is BuildStatus.QUEUED
    assert requeued == (attempt < attempts_max)
