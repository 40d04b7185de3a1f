"""Leases are handed out no faster than the origin's limit serves them, and equally to the artifacts that are asked for."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.ids import Digest
from fleetcast.model.limits import ORIGIN_AHEAD_S, RATE_BYTES_PER_S_MIN, RATE_SLACK_S
from fleetcast.region.origin_pace import OriginPace

A, B, C = (Digest(letter * 64) for letter in "abc")
PIECE = 256 * 1024.0


@given(
    st.integers(RATE_BYTES_PER_S_MIN, 100_000_000),
    st.lists(st.tuples(st.sampled_from([A, B, C]), st.integers(0, 16), st.floats(0, 1)), max_size=80),
)
def test_no_more_is_leased_than_the_limit_serves_before_long(bytes_per_s: int, asks: list[tuple[Digest, int, float]]) -> None:
    pace, now, leased = OriginPace(), 0.0, Counter[Digest]()
    for digest, want, pause_s in asks:
        now += pause_s
        pieces = pace.pieces(digest, PIECE, want, bytes_per_s, now)
        assert 0 <= pieces <= want
        pace.leased(digest, pieces * PIECE, now)
        leased[digest] += pieces
    for pieces in leased.values():
        assert pieces * PIECE <= bytes_per_s * (now + ORIGIN_AHEAD_S + RATE_SLACK_S) + PIECE


def test_without_a_limit_all_that_is_wanted_is_leased() -> None:
    pace = OriginPace()
    for _ in range(100):
        assert pace.pieces(A, PIECE, 16, 0, 0.0) == 16
        pace.leased(A, 16 * PIECE, 0.0)


def _ask(pace: OriginPace, bytes_per_s: int, askers: dict[Digest, int], steps: range, leased: Counter[Digest]) -> None:
    """Ten times a second, each artifact as often as it has askers."""
    for step in steps:
        for digest, times in askers.items():
            for _ in range(times):
                pieces = pace.pieces(digest, PIECE, 16, bytes_per_s, step / 10)
                pace.leased(digest, pieces * PIECE, step / 10)
                leased[digest] += pieces


def test_artifacts_share_whoever_has_more_askers_and_one_alone_has_all() -> None:
    pace, bytes_per_s = OriginPace(), 4_000_000
    both = Counter[Digest]()
    _ask(pace, bytes_per_s, {A: 20, B: 1}, range(600), both)
    assert abs(both[A] - both[B]) * PIECE <= bytes_per_s * ORIGIN_AHEAD_S
    assert (both[A] + both[B]) * PIECE >= 0.95 * bytes_per_s * 60
    alone = Counter[Digest]()
    _ask(pace, bytes_per_s, {B: 1}, range(600, 1200), alone)
    assert alone[B] * PIECE >= 0.9 * bytes_per_s * 60


def test_a_limit_that_changes_holds_at_once() -> None:
    pace, leased = OriginPace(), Counter[Digest]()
    _ask(pace, 1_000_000, {A: 1}, range(100), leased)
    before = leased[A]
    _ask(pace, 8_000_000, {A: 1}, range(100, 200), leased)
    assert (leased[A] - before) * PIECE >= 0.9 * 8_000_000 * 10
