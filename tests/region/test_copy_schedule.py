"""Copies are attempted in time, side by side within bounds, again after failures, and looked at after success."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.ids import Digest
from fleetcast.model.limits import COPIES_AT_ONCE_MAX, COPY_BACKOFF_S_MAX, COPY_FAILING_S_MAX
from fleetcast.region.copy_schedule import CopySchedule

A, B = Digest("a" * 64), Digest("b" * 64)
RECHECK_S = 60.0


def rng() -> Random:
    return Random(1)


def test_the_oldest_are_started_first_and_not_all_at_once() -> None:
    schedule = CopySchedule(RECHECK_S)
    digests = [Digest(f"{index:064}") for index in range(10)]
    schedule.want(dict.fromkeys(digests, 100))
    assert schedule.start_due(0) == digests[:COPIES_AT_ONCE_MAX]
    assert schedule.start_due(0) == []
    schedule.finished(digests[0], 1, rng())
    assert schedule.start_due(1) == [digests[COPIES_AT_ONCE_MAX]]


def test_a_failure_is_told_and_tried_again_later() -> None:
    schedule = CopySchedule(RECHECK_S)
    schedule.want({A: 100})
    schedule.start_due(0)
    schedule.progressed(A, 40)
    schedule.failed(A, "main store away", 1, rng())
    (progress,) = schedule.progress(1)
    assert (progress.bytes_copied, progress.bytes_total, progress.error) == (40, 100, "main store away")
    assert schedule.start_due(1) == []
    due_at = schedule.next_due_at()
    assert due_at is not None
    assert schedule.start_due(due_at) == [A]
    schedule.progressed(A, 40)
    assert schedule.progress(2)[0].error, "nothing new was copied yet"
    schedule.progressed(A, 50)
    assert not schedule.progress(2)[0].error


def test_pauses_grow_to_a_bound() -> None:
    schedule, now, pauses = CopySchedule(RECHECK_S), 0.0, []
    schedule.want({A: 100})
    for _ in range(20):
        assert schedule.start_due(now) == [A]
        schedule.failed(A, "away", now, rng())
        due_at = schedule.next_due_at()
        assert due_at is not None
        pauses.append(due_at - now)
        now = due_at
    assert pauses[0] <= 1
    assert COPY_BACKOFF_S_MAX / 2 <= pauses[-1] <= COPY_BACKOFF_S_MAX


def failing_for(schedule: CopySchedule, begun: float, ended: float) -> None:
    """Attempts at A that fail one after another, as soon as each is due."""
    now = begun
    while now <= ended:
        if schedule.start_due(now) == [A]:
            schedule.failed(A, "away", now, rng())
        due_at = schedule.next_due_at()
        assert due_at is not None
        now = max(due_at, now + 1)


def test_a_copy_is_given_up_after_it_failed_for_long_enough_and_attempted_on() -> None:
    schedule = CopySchedule(RECHECK_S)
    schedule.want({A: 100})
    failing_for(schedule, 0, COPY_FAILING_S_MAX - 1)
    assert not schedule.progress(COPY_FAILING_S_MAX - 1)[0].given_up
    failing_for(schedule, COPY_FAILING_S_MAX - 1, COPY_FAILING_S_MAX + 60)
    (progress,) = schedule.progress(COPY_FAILING_S_MAX + 60)
    assert (progress.given_up, progress.error) == (True, "away")
    due_at = schedule.next_due_at()
    assert due_at is not None
    assert due_at <= COPY_FAILING_S_MAX + 60 + COPY_BACKOFF_S_MAX
    assert schedule.start_due(due_at) == [A]
    schedule.finished(A, due_at, rng())
    assert schedule.is_complete(A)


def test_what_gets_on_is_not_given_up_however_often_it_fails() -> None:
    schedule, now = CopySchedule(RECHECK_S), 0.0
    schedule.want({A: 100})
    for copied in range(1, 60):
        assert schedule.start_due(now) == [A]
        schedule.progressed(A, copied)
        schedule.failed(A, "cut off", now, rng())
        due_at = schedule.next_due_at()
        assert due_at is not None
        assert due_at - now <= 1, "a link that is cut now and then is not left alone for a minute"
        now = due_at + 30
    assert now > COPY_FAILING_S_MAX
    assert not schedule.progress(now)[0].given_up


def test_what_finds_only_what_was_there_before_does_not_get_on() -> None:
    """An attempt begins with nothing, and tells what the bucket holds of it already."""
    schedule, now, pause_s = CopySchedule(RECHECK_S), 0.0, 0.0
    schedule.want({A: 100})
    while now <= COPY_FAILING_S_MAX + COPY_BACKOFF_S_MAX:
        assert schedule.start_due(now) == [A]
        for copied in (0, 40):
            schedule.progressed(A, copied)
        assert (schedule.progress(now)[0].error != "") == (now > 0), "it is told all the time"
        schedule.failed(A, "no space left", now, rng())
        due_at = schedule.next_due_at()
        assert due_at is not None
        now, pause_s = due_at, due_at - now
    assert pause_s >= COPY_BACKOFF_S_MAX / 2
    assert schedule.progress(now)[0].given_up
    schedule.progressed(A, 41)
    assert (schedule.progress(now)[0].given_up, schedule.progress(now)[0].error) == (False, "")


def test_what_was_complete_and_is_gone_gets_on_from_nothing() -> None:
    schedule = CopySchedule(RECHECK_S)
    schedule.want({A: 100})
    schedule.start_due(0)
    schedule.progressed(A, 60)
    schedule.finished(A, 0, rng())
    schedule.start_due(2 * RECHECK_S)
    schedule.progressed(A, 0)
    schedule.failed(A, "away", 2 * RECHECK_S, rng())
    schedule.progressed(A, 20)
    assert schedule.progress(2 * RECHECK_S)[0].error == ""


def test_whoever_demands_a_copy_has_it_attempted_at_once_with_all_patience_again() -> None:
    schedule = CopySchedule(RECHECK_S)
    schedule.want({A: 100})
    failing_for(schedule, 0, COPY_FAILING_S_MAX + 100)
    now = COPY_FAILING_S_MAX + 101.0
    schedule.demanded(A, now)
    assert schedule.start_due(now) == [A]
    schedule.failed(A, "still away", now, rng())
    (progress,) = schedule.progress(now)
    assert (progress.given_up, progress.error) == (False, "still away")


def test_a_demand_looks_again_at_what_is_complete_and_forgets_what_is_not_wanted() -> None:
    schedule = CopySchedule(RECHECK_S)
    schedule.want({A: 100})
    schedule.start_due(0)
    schedule.finished(A, 0, rng())
    schedule.demanded(A, 1)
    schedule.demanded(B, 1)
    assert schedule.start_due(1) == [A]


def test_a_complete_copy_is_looked_at_again_and_may_have_vanished() -> None:
    schedule = CopySchedule(RECHECK_S)
    schedule.want({A: 100})
    schedule.start_due(0)
    schedule.finished(A, 0, rng())
    assert schedule.is_complete(A)
    assert schedule.progress(1) == ()
    assert schedule.start_due(RECHECK_S * 0.8) == []
    assert schedule.start_due(RECHECK_S * 1.1) == [A]
    assert schedule.is_complete(A), "nothing says otherwise yet"
    schedule.progressed(A, 0)
    assert not schedule.is_complete(A)


def test_what_is_missing_comes_before_what_is_looked_at_again() -> None:
    schedule = CopySchedule(RECHECK_S)
    old = [Digest(f"{index:064}") for index in range(COPIES_AT_ONCE_MAX)]
    schedule.want(dict.fromkeys(old, 1))
    for digest in schedule.start_due(0):
        schedule.finished(digest, 0, rng())
    schedule.want(dict.fromkeys([*old, B], 1))
    assert schedule.start_due(RECHECK_S * 2)[0] == B


def test_what_is_no_longer_wanted_is_forgotten_even_under_way() -> None:
    schedule = CopySchedule(RECHECK_S)
    schedule.want({A: 1, B: 1})
    schedule.start_due(0)
    schedule.want({B: 1})
    schedule.progressed(A, 1)
    schedule.finished(A, 0, rng())
    schedule.failed(A, "late", 0, rng())
    assert not schedule.is_complete(A)
    assert [each.digest for each in schedule.progress(1)] == [B]


@given(st.lists(st.tuples(st.sampled_from(["want", "start", "finish", "fail"]), st.integers(0, 9)), max_size=80))
def test_never_more_at_once_than_allowed_and_none_is_lost(steps: list[tuple[str, int]]) -> None:
    schedule, running, wanted, now = CopySchedule(RECHECK_S), set[Digest](), dict[Digest, int](), 0.0
    for step, index in steps:
        digest = Digest(f"{index:064}")
        now += 1
        if step == "want":
            wanted[digest] = 10
            schedule.want(wanted)
        elif step == "start":
            started = schedule.start_due(now)
            assert not running & set(started)
            running |= set(started)
        elif digest in running:
            running.remove(digest)
            if step == "finish":
                schedule.finished(digest, now, Random(index))
            else:
                schedule.failed(digest, "no", now, Random(index))
        assert len(running) <= COPIES_AT_ONCE_MAX
    for _ in range(2 * len(wanted) + 1):
        running |= set(schedule.start_due(now))
        for digest in list(running):
            schedule.finished(digest, now, Random(1))
            running.remove(digest)
        now += COPY_BACKOFF_S_MAX
    assert all(schedule.is_complete(digest) for digest in wanted)
