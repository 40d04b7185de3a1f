"""Claims cost nothing: a neighbour counts for as long as it brings what it was asked for."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.ids import MachineId
from fleetcast.model.limits import (
    CHUNK_BYTES_MAX,
    RATE_LOOK_S,
    SWARM_DIALS_IN_VAIN_MAX,
    SWARM_IN_FLIGHT_MIN,
    SWARM_IN_LINE_S_MAX,
    SWARM_PIECE_S_MAX,
    SWARM_PROGRESS_BYTES,
    SWARM_SLOW_BYTES_PER_S,
    SWARM_UNPAID_S_MAX,
)
from fleetcast.model.messages.agents import PeerAddress
from fleetcast.swarm.download import Download
from fleetcast.swarm.neighbours import Neighbourhood

COUNT = 24
ALL = ((0, COUNT),)
LOOK_S = 0.5
EXCUSE_S = SWARM_PROGRESS_BYTES / SWARM_SLOW_BYTES_PER_S


def _available(download: Download, seed: int) -> set[int]:
    return {piece for first, last in download.without_holder(Random(seed)) for piece in range(first, last)}


def _asked(download: Download, now: float, rng: Random) -> list[int]:
    return [piece for _, piece in download.plan(now, rng)]


def _pay(download: Download, machine: str, piece: int, now: float) -> None:
    if download.accept(piece, machine):
        download.own(piece)
    download.paid(machine, now)


@given(
    claims=st.lists(st.sets(st.integers(0, COUNT - 1)), min_size=1, max_size=8),
    deeds=st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from(["claim", "refuse", "trickle", "line", "return", "news"])), max_size=40
    ),
    seed=st.integers(0, 2**32),
)
def test_whatever_is_claimed_the_origin_may_be_asked_for_what_nobody_brings(
    claims: list[set[int]], deeds: list[tuple[int, str]], seed: int
) -> None:
    rng, download, now = Random(seed), Download(COUNT, COUNT), 0.0
    names = [f"m{number}" for number in range(len(claims))]

    def go_on(name: str) -> None:
        # What the neighbour's thread does before it waits for the next frame.
        download.plan(now, rng)
        if not download.owes_any(name):
            download.ask_news(name, now)

    def join(name: str) -> None:
        download.join(name)
        download.hear(name, tuple((piece, piece + 1) for piece in claims[names.index(name)]))
        go_on(name)

    for name in names:
        join(name)
    # Each can hold a piece up once, and in the worst case they take turns.
    while now < len(names) * (max(SWARM_UNPAID_S_MAX + EXCUSE_S, SWARM_IN_LINE_S_MAX) + 2 * LOOK_S):
        for number, deed in deeds:
            name = names[number % len(names)]
            match deed:
                case "claim":
                    download.hear(name, ALL)
                    download.told(name)
                    go_on(name)
                case "refuse":
                    download.lacks(name, number)
                    go_on(name)
                case "trickle":
                    download.arriving(name, SWARM_PROGRESS_BYTES)
                case "line":
                    download.in_line(name, now)
                case "return":
                    download.leave(name)
                    join(name)
                case "news":
                    download.told(name)
                    go_on(name)
        now += LOOK_S
        download.review(now)
    assert _available(download, seed) == set(range(COUNT))


def test_neighbours_that_all_keep_silent_hold_nothing_up_for_longer_than_one() -> None:
    rng, download = Random(1), Download(COUNT, COUNT)
    for number in range(8):
        download.join(f"m{number}")
        download.hear(f"m{number}", ALL)
    download.plan(0.0, rng)
    for number in range(8):
        if not download.owes_any(f"m{number}"):
            download.ask_news(f"m{number}", 0.0)
    assert _available(download, 1) == set()
    assert len(download.review(SWARM_UNPAID_S_MAX + 0.1)) == 8
    assert _available(download, 1) == set(range(COUNT))


@given(
    piece_bytes=st.integers(256 * 1024, CHUNK_BYTES_MAX),
    bytes_per_s=st.integers(1_000_000 // 8, 100_000_000),
    latency_s=st.floats(0, 0.5),
    seed=st.integers(0, 2**32),
)
def test_a_neighbour_that_is_slow_and_delivers_keeps_its_standing(
    piece_bytes: int, bytes_per_s: int, latency_s: float, seed: int
) -> None:
    rng, download, now = Random(seed), Download(COUNT, COUNT), 0.0
    download.join("slow")
    download.hear("slow", ALL)
    queue: list[int] = []
    while download.missing:
        queue += _asked(download, now, rng)
        now += latency_s
        for at in range(0, piece_bytes, SWARM_PROGRESS_BYTES):
            if at:
                download.arriving("slow", at)
            now += min(SWARM_PROGRESS_BYTES, piece_bytes - at) / bytes_per_s
            assert download.review(now) == ()
            assert download.hopeless(now) == ()
            assert _available(download, seed) == set(), "the origin is left alone"
        _pay(download, "slow", queue.pop(0), now)


def test_one_that_pays_late_counts_again() -> None:
    rng, download = Random(1), Download(COUNT, COUNT)
    download.join("m")
    download.hear("m", ALL)
    owed = _asked(download, 0.0, rng)
    assert len(owed) == SWARM_IN_FLIGHT_MIN
    late = SWARM_UNPAID_S_MAX + 0.1
    assert download.review(late) == ("m",)
    assert download.review(late) == (), "said once"
    assert _asked(download, late, rng) == [], "nothing more is asked of it"
    assert _available(download, 1) == set(range(COUNT))

    _pay(download, "m", owed[0], late)
    assert not download.doubts("m")
    assert _available(download, 1) == set()
    assert set(_asked(download, late, rng)).isdisjoint(owed), "what it still owes is not asked of it twice"


def test_doubt_outlives_the_connection_and_then_one_piece_is_tried() -> None:
    rng, download = Random(1), Download(COUNT, COUNT)
    download.join("m")
    download.hear("m", ALL)
    _asked(download, 0.0, rng)
    download.leave("m")
    download.join("m")
    download.hear("m", ALL)
    assert _available(download, 1) == set(range(COUNT))
    (piece,) = _asked(download, 1.0, rng)
    _pay(download, "m", piece, 1.5)
    assert len(_asked(download, 1.5, rng)) == SWARM_IN_FLIGHT_MIN
    assert _available(download, 1) == set()


def test_one_that_does_not_tell_its_news_does_not_count_for_what_is_learnt_meanwhile() -> None:
    download = Download(3, COUNT)
    download.join("m")
    download.hear("m", ((3, COUNT),))
    assert _asked(download, 0.0, Random(1)) == []
    download.ask_news("m", 0.0)
    download.learn(COUNT, ())
    assert _available(download, 1) == {0, 1, 2}
    download.review(SWARM_UNPAID_S_MAX + 0.1)
    assert _available(download, 1) == set(range(COUNT))


def test_trickled_bytes_excuse_for_a_while_and_never_for_good() -> None:
    rng, download = Random(1), Download(COUNT, COUNT)
    download.join("m")
    download.hear("m", ALL)
    _asked(download, 0.0, rng)
    download.arriving("m", CHUNK_BYTES_MAX - 1)
    assert download.review(SWARM_UNPAID_S_MAX + 0.1) == ()
    assert download.review(SWARM_PIECE_S_MAX - 0.1) == ("m",)
    assert download.hopeless(SWARM_PIECE_S_MAX - 0.1) == ()
    assert download.hopeless(SWARM_PIECE_S_MAX + 0.1) == ("m",)


@given(waits=st.lists(st.floats(0, SWARM_IN_LINE_S_MAX - 0.1), min_size=1, max_size=COUNT), seed=st.integers(0, 2**32))
def test_one_whose_limit_holds_it_up_keeps_its_standing_and_is_asked_for_one_at_a_time(waits: list[float], seed: int) -> None:
    rng, download, now = Random(seed), Download(COUNT, COUNT), 0.0
    download.join("m")
    download.hear("m", ALL)
    queue = _asked(download, now, rng)
    for wait_s in waits:
        came_at = now + wait_s
        while now + RATE_LOOK_S < came_at:
            now += RATE_LOOK_S
            download.in_line("m", now)
            assert _asked(download, now, rng) == []
            assert (download.review(now), download.hopeless(now)) == ((), ())
        now = came_at
        assert (download.review(now), download.hopeless(now)) == ((), ())
        if not queue:
            return
        _pay(download, "m", queue.pop(0), now)
        queue += _asked(download, now, rng)
        if wait_s > RATE_LOOK_S * 1.01:
            assert len(queue) <= max(1, SWARM_IN_FLIGHT_MIN - 1), "what it was asked for before, and no more"
    assert _available(download, seed) == set()


def test_one_that_is_in_line_for_ever_is_worked_around_and_not_dropped() -> None:
    rng, download, now = Random(1), Download(COUNT, COUNT), 0.0
    download.join("m")
    download.hear("m", ALL)
    (piece, *_) = _asked(download, now, rng)
    doubted: list[float] = []
    while now < 10 * SWARM_PIECE_S_MAX:
        now += RATE_LOOK_S
        download.in_line("m", now)
        doubted += [now for _ in download.review(now)]
        assert download.hopeless(now) == ()
    assert doubted == [SWARM_IN_LINE_S_MAX + RATE_LOOK_S]
    assert _available(download, 1) == set(range(COUNT))
    assert download.hopeless(now + SWARM_PIECE_S_MAX + 0.1) == ("m",), "one that says nothing any more is"
    _pay(download, "m", piece, now)
    assert not download.doubts("m")


def test_to_be_in_line_excuses_nobody_who_was_asked_for_nothing() -> None:
    download = Download(COUNT, COUNT)
    download.join("m")
    download.in_line("m", 0.0)
    download.hear("m", ALL)
    assert len(_asked(download, 1.0, Random(1))) == SWARM_IN_FLIGHT_MIN


def test_writing_what_came_is_not_the_neighbours_time() -> None:
    rng, download = Random(1), Download(COUNT, COUNT)
    download.join("m")
    download.hear("m", ALL)
    piece = _asked(download, 0.0, rng)[0]
    download.accept(piece, "m")
    assert download.review(100.0) == ()
    download.own(piece)
    download.paid("m", 100.0)
    assert download.review(100.0 + SWARM_UNPAID_S_MAX) == ()


def test_a_greeting_makes_up_for_nothing() -> None:
    rng, around, now = Random(1), Neighbourhood(MachineId("me")), 0.0
    around.meet([PeerAddress(MachineId("m"), "127.0.0.1", 1)])
    for _ in range(SWARM_DIALS_IN_VAIN_MAX):
        assert around.dial(now, rng)
        around.greeted(MachineId("m"))
        around.ended(MachineId("m"), now, rng, failed=True)
        now += 100.0
    assert around.dial(now, rng) == (), "forgotten"


def test_the_origin_does_not_wait_long_for_those_who_never_greet() -> None:
    rng, around = Random(1), Neighbourhood(MachineId("me"))
    around.meet([PeerAddress(MachineId("m"), "127.0.0.1", 1)])
    around.dial(0.0, rng)
    assert not around.settled(SWARM_UNPAID_S_MAX)
    assert around.settled(SWARM_UNPAID_S_MAX + 0.1)
