"""Who may send how much when: never more than the rate, equally much for each, and nobody waits for ever."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.limits import CHUNK_AVERAGE_BYTES, CHUNK_BYTES_MAX, MIB, RATE_AHEAD_S, RATE_SLACK_S
from fleetcast.stores.rates import UNLIMITED, Line, Rate, Turn, pieces_ahead

rates = st.integers(100_000, 100_000_000)
sizes = st.integers(1, CHUNK_BYTES_MAX)
pauses = st.floats(0, 3)


@given(rates, st.lists(st.tuples(sizes, pauses), min_size=1, max_size=50))
def test_in_no_span_of_time_goes_more_than_the_rate_and_one_chunk(bytes_per_s: int, wishes: list[tuple[int, float]]) -> None:
    rate, now = Rate(bytes_per_s), 0.0
    went: list[tuple[float, int]] = []
    for size, pause_s in wishes:
        now += pause_s
        now += rate.wait_s(now)
        rate.spend(size, now)
        went.append((now, size))
    for first, (begin, _) in enumerate(went):
        total = 0
        for end, size in went[first:]:
            total += size
            assert total - size <= bytes_per_s * (end - begin + RATE_SLACK_S) * 1.000001 + 1


@given(rates, st.lists(sizes, min_size=1, max_size=50), st.floats(0, RATE_SLACK_S / 2))
def test_whoever_always_has_something_to_send_gets_the_whole_rate(bytes_per_s: int, wishes: list[int], late_s: float) -> None:
    rate, now = Rate(bytes_per_s), 0.0
    rate.change(bytes_per_s, now)
    for size in wishes:
        wait_s = rate.wait_s(now)
        now += wait_s + (late_s if wait_s else 0)
        rate.spend(size, now)
    assert now + rate.wait_s(now) <= sum(wishes) / bytes_per_s + 2 * RATE_SLACK_S


@given(rates, rates, sizes, st.floats(0, 1))
def test_a_change_takes_effect_at_once(before: int, after: int, size: int, share: float) -> None:
    rate = Rate(before)
    rate.spend(size, 100.0)
    now = 100.0 + share * size / before
    owed_s = rate.wait_s(now)
    rate.change(after, now)
    assert abs(rate.wait_s(now) * after - owed_s * before) <= size * 1e-6 + 1, "what is owed is paid at the new rate"
    rate.change(UNLIMITED, now)
    assert rate.wait_s(now) == 0
    rate.spend(size, now)
    rate.change(before, now)
    assert rate.wait_s(now) == 0, "what went while there was no limit is not owed under one"


class Crowd:
    """Some who always want more: each chunk that goes is followed by another."""

    def __init__(self, sizes: dict[str, list[int]]) -> None:
        self.line, self.sizes, self.sent = Line(), sizes, Counter[str]()
        self.rounds = Counter[str]()

    def want(self, whose: str) -> Turn:
        mine = self.sizes[whose]
        self.rounds[whose] += 1
        return self.line.join(whose, mine[self.rounds[whose] % len(mine)])

    def step(self) -> Turn:
        turn = self.line.next()
        assert turn is not None
        self.line.go(turn)
        self.sent[turn.whose] += turn.size
        return turn


@given(
    st.dictionaries(st.sampled_from("abcde"), st.lists(sizes, min_size=1, max_size=5), min_size=1),
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 8)),
    st.integers(1, 200),
)
def test_those_who_always_want_more_have_equally_much(
    wishes: dict[str, list[int]], threads: dict[str, int], steps: int
) -> None:
    crowd = Crowd(wishes)
    for whose in wishes:
        for _ in range(threads.get(whose, 1)):
            crowd.want(whose)
    for _ in range(steps):
        # Whoever went is back before the next one goes.
        crowd.want(crowd.step().whose)
    assert max(crowd.sent[whose] for whose in wishes) - min(crowd.sent[whose] for whose in wishes) <= CHUNK_BYTES_MAX


@given(st.lists(st.tuples(st.sampled_from("abc"), sizes), min_size=1, max_size=60), st.integers(0, 59))
def test_everybody_in_line_gets_a_turn_whoever_comes_and_leaves(wishes: list[tuple[str, int]], leaving: int) -> None:
    line = Line()
    turns = [line.join(whose, size) for whose, size in wishes]
    if leaving < len(turns):
        line.leave(turns.pop(leaving))
    served = []
    while (turn := line.next()) is not None:
        line.go(turn)
        served.append(turn)
    assert Counter(map(id, served)) == Counter(map(id, turns))
    for whose in "abc":
        assert [turn for turn in served if turn.whose == whose] == [turn for turn in turns if turn.whose == whose]
    assert len(line) == 0


@given(st.integers(1, 100))
def test_a_newcomer_waits_for_one_chunk_of_each_and_not_for_what_they_had_before(rounds: int) -> None:
    crowd = Crowd({"old": [CHUNK_BYTES_MAX], "older": [CHUNK_BYTES_MAX], "new": [CHUNK_BYTES_MAX]})
    for whose in ("old", "older"):
        crowd.want(whose)
    for _ in range(rounds):
        crowd.want(crowd.step().whose)
    new = crowd.want("new")
    ahead = 0
    while (turn := crowd.step()) is not new:
        crowd.want(turn.whose)
        ahead += 1
    assert ahead <= 2
    crowd.want("new")
    crowd.sent.clear()
    for _ in range(30):
        crowd.want(crowd.step().whose)
    assert max(crowd.sent.values()) - min(crowd.sent.values()) <= CHUNK_BYTES_MAX, "and then it catches nothing up"


def test_one_that_is_alone_is_not_held_up_by_who_was_there() -> None:
    crowd = Crowd({"a": [1000], "b": [1000]})
    crowd.want("a")
    for _ in range(10):
        crowd.want(crowd.step().whose)
    crowd.step()
    assert crowd.line.next() is None
    crowd.want("b")
    assert crowd.step().whose == "b"


@given(st.integers(0, 200 * MIB), st.integers(1, 16), st.integers(1, 16))
def test_what_is_on_its_way_unpaid_is_little(bytes_per_s: int, most: int, askers: int) -> None:
    pieces = pieces_ahead(bytes_per_s, most, askers)
    assert 1 <= pieces <= most
    if bytes_per_s == UNLIMITED:
        assert pieces == most
    elif pieces > 1:
        assert askers * pieces * CHUNK_AVERAGE_BYTES <= bytes_per_s * RATE_AHEAD_S
