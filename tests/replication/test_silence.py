"""Who says nothing is told apart from who cannot be heard."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.ids import RegionName
from fleetcast.replication.silence import LastWord, SilenceWatch, to_drain

EU, US, AP = RegionName("eu"), RegionName("us"), RegionName("ap")
SILENCE_S, ABSENCE_S = 300.0, 60.0


def watch() -> SilenceWatch:
    return SilenceWatch(SILENCE_S, ABSENCE_S)


def word(region: RegionName, at_ms: int, *, drained: bool = False) -> LastWord:
    return LastWord(region, at_ms, drained)


def test_who_says_nothing_is_silent_after_the_bound() -> None:
    looking = watch()
    for now in range(0, 300, 5):
        assert not looking.silent([word(EU, 7), word(US, now)], now)
    assert looking.silent([word(EU, 7), word(US, 300)], 300) == {EU}


def test_one_word_and_the_silence_is_over() -> None:
    looking = watch()
    for now in range(0, 305, 5):
        looking.silent([word(EU, 7)], now)
    assert not looking.silent([word(EU, 8)], 305)
    assert not looking.silent([word(EU, 8)], 310)


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=60, unique=True))
def test_a_clock_that_jumps_makes_nobody_silent(stamps: list[int]) -> None:
    looking = watch()
    assert not any(looking.silent([word(EU, stamp)], 50.0 * turn) for turn, stamp in enumerate(stamps))


def test_the_time_before_the_start_does_not_count() -> None:
    assert not watch().silent([word(EU, 0)], 10.0**9)


def test_nor_does_that_in_which_nobody_looked() -> None:
    looking = watch()
    looking.silent([word(EU, 7)], 0)
    assert not looking.silent([word(EU, 7)], 3600)
    for now in range(3600, 3900, 5):
        assert not looking.silent([word(EU, 7)], now)
    assert looking.silent([word(EU, 7)], 3900) == {EU}


def test_a_region_that_is_forgotten_begins_anew() -> None:
    looking = watch()
    for now in range(0, 305, 5):
        looking.silent([word(EU, 7)], now)
    looking.silent([], 305)
    assert not looking.silent([word(EU, 7)], 310)


def test_the_silent_one_is_drained_while_others_are_heard() -> None:
    assert to_drain([word(EU, 1), word(US, 2)], frozenset({EU})) == (EU,)


def test_nobody_is_drained_when_nobody_is_heard() -> None:
    assert to_drain([word(EU, 1), word(US, 2)], frozenset({EU, US})) == ()
    assert to_drain([word(EU, 1)], frozenset({EU})) == ()


def test_a_drained_one_that_is_heard_is_not_somebody_who_counts() -> None:
    assert to_drain([word(EU, 1), word(US, 2, drained=True)], frozenset({EU})) == ()


@given(st.sets(st.sampled_from([EU, US, AP])), st.sets(st.sampled_from([EU, US, AP])))
def test_somebody_who_counts_is_always_left(silent: set[RegionName], drained: set[RegionName]) -> None:
    words = [word(region, 1, drained=region in drained) for region in (EU, US, AP)]
    gone = set(to_drain(words, frozenset(silent)))
    assert gone <= silent - drained
    counting = {EU, US, AP} - drained
    assert not counting or counting - gone
