"""Whose turn it is, and what the others wait for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.builds.policy import Job, WaitsFor, claimed_next, line, retry_s
from fleetcast.model.build import BuildStatus, Lane
from fleetcast.model.ids import BuildId, ServiceName
from fleetcast.model.limits import BUILD_RETRY_S_MAX, BUILD_URGENT_AHEAD_S

AHEAD_MS = BUILD_URGENT_AHEAD_S * 1000
NOW = 10 * AHEAD_MS


def _job(number: int, service: str = "web", *, age_ms: int = 0, lane: Lane = Lane.ORDINARY, running: bool = False) -> Job:
    status = BuildStatus.RUNNING if running else BuildStatus.QUEUED
    return Job(BuildId(number), ServiceName(service), status, lane, NOW - age_ms)


jobs = st.lists(
    st.builds(
        Job,
        id=st.integers(1, 10**6).map(BuildId),
        service=st.sampled_from(["web", "api", "db"]).map(ServiceName),
        status=st.sampled_from([BuildStatus.QUEUED, BuildStatus.RUNNING]),
        lane=st.sampled_from(Lane),
        created_at_ms=st.integers(0, NOW),
        not_before_ms=st.sampled_from([0, NOW, NOW + 1]),
    ),
    unique_by=lambda job: job.id,
    max_size=20,
)


def test_the_oldest_comes_first() -> None:
    assert claimed_next([_job(1), _job(2, age_ms=1), _job(3)], NOW, 9, workers=3) == [2, 1, 3]


def test_an_urgent_build_passes_all_that_did_not_wait_for_long() -> None:
    waiting = [_job(1, age_ms=AHEAD_MS + 1), _job(2, age_ms=AHEAD_MS - 1), _job(3, lane=Lane.URGENT)]
    assert claimed_next(waiting, NOW, 9, workers=3) == [1, 3, 2]


def test_urgent_builds_are_fair_among_themselves() -> None:
    waiting = [_job(1, lane=Lane.URGENT), _job(2, lane=Lane.URGENT, age_ms=5), _job(3, age_ms=9)]
    assert claimed_next(waiting, NOW, 9, workers=3) == [2, 1, 3]


def test_a_service_at_its_bound_is_passed_over_and_an_urgent_build_of_it_is_not() -> None:
    running = [_job(1, running=True), _job(2, running=True)]
    ordinary, other = _job(3, age_ms=9), _job(4, "api")
    assert claimed_next([*running, ordinary, other], NOW, 2) == [4]
    assert [one.waits_for for one in line([*running, ordinary, other], NOW, 2)] == [WaitsFor.SERVICE, WaitsFor.WORKER]
    urgent = [_job(5, lane=Lane.URGENT, age_ms=2), _job(6, lane=Lane.URGENT, age_ms=1)]
    assert claimed_next([*running, ordinary, other, *urgent], NOW, 2, workers=9) == [5, 4]


def test_what_waits_for_its_next_attempt_holds_nobody_up() -> None:
    later = Job(BuildId(1), ServiceName("web"), BuildStatus.QUEUED, Lane.ORDINARY, 0, NOW + 1)
    assert claimed_next([later, _job(2)], NOW, 1) == [2]
    assert claimed_next([later, _job(2)], NOW + 1, 1) == [1]


def test_a_first_loss_is_tried_again_at_once_and_then_ever_later() -> None:
    assert [retry_s(lost, 15) for lost in range(1, 6)] == [0, 15, 30, 60, 120]
    assert retry_s(10**6, 15) == BUILD_RETRY_S_MAX


@given(jobs, st.integers(1, 4))
def test_whoever_waits_for_a_worker_gets_one_without_breaking_a_bound(known: list[Job], bound: int) -> None:
    claimed = claimed_next(known, NOW, bound, workers=len(known))
    for service in ("web", "api", "db"):
        mine = [job for job in known if job.service == service]
        before = sum(job.status is BuildStatus.RUNNING for job in mine)
        after = before + sum(job.id in claimed for job in mine)
        assert after <= max(before, bound + 1)
        if not any(job.lane is Lane.URGENT and job.id in claimed for job in mine):
            assert after <= max(before, bound)


@given(jobs, st.integers(1, 4), st.integers(1, 20))
def test_workers_who_ask_at_once_get_what_they_would_one_after_the_other(known: list[Job], bound: int, workers: int) -> None:
    left, one_by_one = list(known), []
    for _ in range(workers):
        for claimed in claimed_next(left, NOW, bound):
            one_by_one.append(claimed)
            left = [
                Job(job.id, job.service, BuildStatus.RUNNING, job.lane, job.created_at_ms) if job.id == claimed else job
                for job in left
            ]
    assert claimed_next(known, NOW, bound, workers=workers) == one_by_one


@given(jobs, st.integers(1, 4))
def test_an_ordinary_build_is_passed_only_by_what_is_ordered_within_an_hour_of_it(known: list[Job], bound: int) -> None:
    waiting = [one.job for one in line(known, NOW, bound)]
    for position, job in enumerate(waiting):
        for before in waiting[:position]:
            assert before.created_at_ms <= job.created_at_ms + AHEAD_MS
