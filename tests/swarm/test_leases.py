"""The origin's lease book: each piece about once, whoever asks, whoever dies."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetcast.model.ids import Digest, MachineId
from fleetcast.model.limits import (
    ORIGIN_EXTRA_PIECES_PER_S,
    ORIGIN_GRANTS_PER_CHUNK,
    ORIGIN_IN_FLIGHT_MIN,
    ORIGIN_LEASE_CHUNKS_MAX,
    ORIGIN_LEASE_S,
    ORIGIN_REGRANT_S_MIN,
    ORIGIN_SLOW_S,
)
from fleetcast.model.messages.agents import LeaseRequest
from fleetcast.swarm.bitmap import ranges_of
from fleetcast.swarm.leases import LeaseBook, LeaseDecision

ALL = ((0, 100),)


class Book:
    """A book of pieces, its clock, and who is alive."""

    def __init__(self, seed: int = 1, grants_from: float = 0.0) -> None:
        self.book, self.rng, self.now = LeaseBook(10_000, grants_from), Random(seed), 0.0
        self.dead: set[str] = set()

    def ask(
        self,
        machine: str,
        missing: tuple[tuple[int, int], ...] = ALL,
        want: int = 4,
        held: tuple[int, ...] = (),
        returned: tuple[int, ...] = (),
    ) -> LeaseDecision:
        request = LeaseRequest(MachineId(machine), Digest("r" * 64), missing, held, returned, want)
        return self.book.lease(request, self.now, lambda asked: asked not in self.dead, self.rng)


@given(st.integers(0, 2**32), st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60))
def test_a_piece_is_leased_to_one_machine_at_a_time_and_once_while_it_spreads(seed: int, askers: list[str]) -> None:
    book = Book(seed)
    granted = Counter[int]()
    held: dict[str, tuple[int, ...]] = {}
    for asker in askers:
        book.now += 0.1
        mine = held.get(asker, ())
        missing = ranges_of(piece for piece in range(100) if piece not in mine)
        decision = book.ask(asker, missing=missing, held=mine)
        granted.update(decision.pieces)
        held[asker] = (*mine, *decision.pieces)
    assert all(count == 1 for count in granted.values())
    assert book.book.extra == 0


def test_only_what_was_asked_for_and_only_so_much() -> None:
    book = Book()
    assert book.ask("a", missing=((3, 5),), want=50).pieces == (3, 4)
    assert len(book.ask("b", missing=((6, 9),), want=1).pieces) == 1
    assert book.ask("b", missing=((90, 2**60), (-5, 0), (7, 7)), want=0).pieces == ()
    assert Book().ask("c", missing=((9_999, 2**60),)).pieces == (9_999,)


def test_little_is_on_lease_at_a_time_and_more_of_an_origin_that_is_quick() -> None:
    book = Book()
    slow = [piece for number in range(40) for piece in book.ask(f"m{number}", want=50).pieces]
    assert len(slow) == ORIGIN_IN_FLIGHT_MIN
    assert book.ask("late", want=50).full
    assert not book.ask("late", want=0).full
    assert not Book().ask("a", missing=(), want=50).full, "it is not for others that it gets nothing"
    book.now += ORIGIN_SLOW_S + 0.1
    assert book.ask("late", want=50).pieces, "slow ones keep nobody else from a lease"

    book, largest = Book(), 0
    held: tuple[int, ...] = ()
    for _ in range(200):
        book.now += 0.01
        held = book.ask("quick", missing=((0, 10_000),), held=held, want=100).pieces
        largest = max(largest, len(held))
    assert largest == ORIGIN_LEASE_CHUNKS_MAX


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 12))
def test_of_a_quick_origin_pieces_are_leased_in_runs_and_no_crumbs(seed: int, machines: int) -> None:
    """Each machine brings what it was leased 0.04 s later: 25 leases a second, of which each is worth 0.1 s."""
    book, count = Book(seed), 1_000
    held: dict[str, tuple[int, ...]] = {}
    there: set[int] = set()
    leases: list[tuple[int, ...]] = []
    while len(there) < count:
        book.now += 0.04 / machines
        asker = f"m{book.rng.randrange(machines)}"
        brought = held.pop(asker, ())
        there.update(brought)
        decision = book.ask(asker, ranges_of(piece for piece in range(count) if piece not in there), want=100, held=brought)
        if decision.pieces:
            held[asker] = decision.pieces
            leases.append(decision.pieces)
    assert sorted(piece for lease in leases for piece in lease) == list(range(count)), "each once"
    parts = sum(len(ranges_of(lease)) for lease in leases)
    assert parts <= len(leases) + count / ORIGIN_LEASE_CHUNKS_MAX + 1, "two to a block, and the rest in one stretch"


def test_who_had_a_turn_lets_the_others_go_first() -> None:
    book = Book()
    first = book.ask("first", want=50).pieces
    for number in range(2 * ORIGIN_IN_FLIGHT_MIN):
        book.ask(f"m{number}", want=50)
    assert book.ask("first", held=first, want=50).pieces == ()
    assert book.ask(f"m{2 * ORIGIN_IN_FLIGHT_MIN - 1}", want=50).pieces


def test_a_lease_that_runs_out_or_is_given_back_is_free_again() -> None:
    book = Book()
    piece = ((5, 6),)
    assert book.ask("a", piece).pieces == (5,)
    assert book.ask("b", piece).pieces == ()
    assert book.ask("a", (), returned=(5,)).pieces == ()
    assert book.ask("b", piece).pieces == (5,)
    book.now += ORIGIN_LEASE_S
    assert book.ask("c", piece).pieces == (5,)


def test_while_a_holder_lives_there_are_two_grants_and_then_a_bounded_rate() -> None:
    book, granted = Book(), Counter[str]()
    for _ in range(300):
        book.now += 1.0
        for machine in ("a", "b", "c", "d"):
            for piece in book.ask(machine, ((5, 6),)).pieces:
                granted[machine] += 1
                book.ask(machine, (), held=(piece,))
    ordinary = sum(granted.values()) - book.book.extra
    assert ordinary == ORIGIN_GRANTS_PER_CHUNK
    assert book.book.extra <= 300 / ORIGIN_REGRANT_S_MIN


def test_extra_grants_of_many_pieces_keep_to_the_rate() -> None:
    book = Book()
    seconds = 60
    for machine in ("a", "b", "c"):
        while (pieces := book.ask(machine, want=16).pieces) != ():
            book.ask(machine, (), held=pieces)
        book.now += ORIGIN_REGRANT_S_MIN
    before = book.book.extra
    for _ in range(seconds):
        book.now += 1.0
        book.ask("z", want=16)
        book.ask("y", want=16)
    assert 0 < book.book.extra - before <= ORIGIN_EXTRA_PIECES_PER_S * (seconds + 1)


def test_a_piece_whose_holders_died_is_free_at_once() -> None:
    book = Book()
    book.ask("a", ((5, 6),))
    book.ask("a", (), held=(5,))
    assert book.ask("b", ((5, 6),)).pieces == ()
    book.dead.add("a")
    assert book.ask("b", ((5, 6),)).pieces == (5,)
    assert book.book.extra == 0


def test_a_new_owner_listens_before_it_grants() -> None:
    book = Book(grants_from=5.0)
    early = book.ask("a", held=(7,))
    assert (early.pieces, early.retry_after_s) == ((), 5.0)
    book.now = 5.0
    assert book.ask("b", ((7, 8),)).pieces == (), "what it was told meanwhile counts"
    assert book.ask("b", ((8, 9),)).pieces == (8,)


def test_a_machine_that_was_started_anew_need_not_wait_for_itself_once() -> None:
    book = Book()
    piece = ((7, 8),)
    assert book.ask("a", piece).pieces == (7,)
    assert book.ask("b", piece).pieces == ()
    assert book.ask("a", piece).pieces == (7,), "its own lease, of which it knows nothing any more"
    assert book.ask("a", piece).pieces == (), "a machine that keeps losing it waits like everybody else"
    assert book.book.extra == 0


def test_a_machine_whose_copy_decayed_need_not_wait_for_itself_once() -> None:
    book = Book()
    piece = ((7, 8),)
    assert book.ask("a", piece).pieces == (7,)
    book.ask("a", (), held=(7,))
    assert book.ask("a", piece).pieces == (7,)
    assert book.ask("a", piece).pieces == ()
