"""Which copies are looked at, and what was seen means."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.ids import Digest, RegionName
from fleetcast.model.replication import ReplicaStatus
from fleetcast.replication.missing import Known, Seen, Trouble, Wanted, due, judge, lacking, waiting_for

ARTIFACT = Wanted(Digest("a" * 64), manifest_size=10, content_size=1000)
BUCKETS = [RegionName("ap"), RegionName("eu"), RegionName("us")]
WHOLE = Seen(manifest_size=10, content_size=1000)

sizes = st.none() | st.sampled_from([0, 10, 1000])
seen = st.builds(Seen, sizes, sizes) | st.just(Seen(unreachable="no route"))
known = st.builds(Known, st.sampled_from(ReplicaStatus), st.sampled_from(["", "why"]), st.integers(0, 10**6))
digests = st.sampled_from("abc").map(lambda letter: Digest(letter * 64))
rows = st.dictionaries(st.tuples(st.sampled_from(BUCKETS), digests), known)


def _complete(checked_at_ms: int = 0) -> Known:
    return Known(ReplicaStatus.COMPLETE, "", checked_at_ms)


@given(seen, st.none() | known, st.none() | st.builds(Trouble, st.just("disk full"), st.booleans()))
def test_only_a_bucket_that_shows_both_blobs_makes_a_copy_complete(
    answer: Seen, before: Known | None, trouble: Trouble | None
) -> None:
    finding = judge(ARTIFACT, answer, before, trouble)
    was_complete = before is not None and before.status is ReplicaStatus.COMPLETE
    assert (finding.status is ReplicaStatus.COMPLETE) == (answer == WHOLE or (bool(answer.unreachable) and was_complete))
    assert bool(finding.reason) or finding.status is ReplicaStatus.COMPLETE


def test_a_bucket_that_is_away_takes_nothing_back() -> None:
    away = Seen(unreachable="no route")
    assert judge(ARTIFACT, away, _complete(), None).status is ReplicaStatus.COMPLETE
    finding = judge(ARTIFACT, away, None, None)
    assert (finding.status, finding.reason) == (ReplicaStatus.PENDING, "its bucket does not answer: no route")


def test_what_vanished_is_pending_again_and_says_so() -> None:
    finding = judge(ARTIFACT, Seen(manifest_size=10), _complete(), None)
    assert (finding.status, finding.reason) == (ReplicaStatus.PENDING, "it vanished from the bucket")
    assert judge(ARTIFACT, Seen(), Known(finding.status, finding.reason, 0), None).reason == "being copied"


def test_a_regions_own_trouble_is_the_reason_and_a_failure_once_it_has_given_up() -> None:
    finding = judge(ARTIFACT, Seen(), None, Trouble("disk full", given_up=False))
    assert (finding.status, finding.reason) == (ReplicaStatus.PENDING, "the last attempt failed: disk full")
    finding = judge(ARTIFACT, Seen(), None, Trouble("disk full", given_up=True))
    assert (finding.status, finding.reason) == (ReplicaStatus.FAILED, "disk full")
    again = judge(ARTIFACT, WHOLE, Known(finding.status, finding.reason, 0), Trouble("disk full", given_up=True))
    assert again.status is ReplicaStatus.COMPLETE


def test_what_a_bucket_lacks_is_counted() -> None:
    rows = {(BUCKETS[0], Digest("a" * 64)): _complete(), (BUCKETS[0], Digest("b" * 64)): Known(ReplicaStatus.PENDING, "", 0)}
    assert lacking([Digest(letter * 64) for letter in "abc"], BUCKETS[0], rows) == 2
    assert lacking([Digest("a" * 64)], BUCKETS[0], rows) == 0


def test_other_bytes_than_asked_for_are_a_failure() -> None:
    finding = judge(ARTIFACT, Seen(10, 999), None, None)
    assert (finding.status, finding.reason) == (ReplicaStatus.FAILED, "it holds 10 + 999 bytes instead of 10 + 1000")


@given(rows, st.lists(digests, unique=True), st.integers(0, 10**6), st.integers(0, 1000))
def test_everything_is_looked_at_but_what_was_complete_a_moment_ago(
    known: dict[tuple[RegionName, Digest], Known], wanted: list[Digest], now_ms: int, recheck_s: int
) -> None:
    looks = due([Wanted(digest, 1, 1) for digest in wanted], BUCKETS, known, now_ms, recheck_s)
    asked = {(bucket, artifact.digest) for bucket, artifact in looks}
    assert len(asked) == len(looks)
    for digest in wanted:
        for bucket in BUCKETS:
            row = known.get((bucket, digest))
            if (bucket, digest) not in asked:
                assert row is not None
                assert row.status is ReplicaStatus.COMPLETE
                assert now_ms - row.checked_at_ms < recheck_s * 1000


@given(rows, digests, st.lists(st.sampled_from(BUCKETS), unique=True))
def test_deployable_is_complete_in_every_bucket_that_counts(
    known: dict[tuple[RegionName, Digest], Known], digest: Digest, buckets: list[RegionName]
) -> None:
    complete = [
        bucket for bucket in buckets if (bucket, digest) in known and known[bucket, digest].status is ReplicaStatus.COMPLETE
    ]
    assert (waiting_for(digest, buckets, known) == "") == (bool(buckets) and complete == buckets)


def test_it_names_the_buckets_it_waits_for() -> None:
    rows = {
        (BUCKETS[0], ARTIFACT.digest): _complete(),
        (BUCKETS[1], ARTIFACT.digest): Known(ReplicaStatus.FAILED, "disk full", 0),
    }
    assert waiting_for(ARTIFACT.digest, BUCKETS, rows) == "eu: FAILED (disk full); us: not looked at yet"
    many = [RegionName(f"r{number}") for number in range(8)]
    assert waiting_for(ARTIFACT.digest, many, {}).endswith("r4: not looked at yet and 3 more")
    assert waiting_for(ARTIFACT.digest, [], {}) == "a region to join"
