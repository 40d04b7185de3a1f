"""Threads that keep to a limit."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fleetcast.model.errors import Unavailable
from fleetcast.model.limits import RATE_SLACK_S
from fleetcast.stores.limiter import Limiter
from fleetcast.stores.rates import UNLIMITED

CHUNK = 50_000
DONE_S_MAX = 20.0


def yes() -> bool:
    return True


@contextmanager
def waiting(limiter: Limiter, whose: str = "a", still: Callable[[], bool] = yes) -> Iterator[list[object]]:
    """A thread that pays; the list is what came of it."""
    outcome: list[object] = []

    def pay() -> None:
        try:
            outcome.append(limiter.pay(whose, CHUNK, still))
        except Unavailable as error:
            outcome.append(error.code)

    thread = threading.Thread(target=pay)
    thread.start()
    yield outcome
    thread.join(DONE_S_MAX)
    assert not thread.is_alive()


def test_two_that_want_all_they_can_get_share_what_there_is() -> None:
    bytes_per_s, paid, total = 2_000_000, Counter[str](), 40 * CHUNK
    limiter, lock, full = Limiter(bytes_per_s), threading.Lock(), threading.Event()

    def take(whose: str) -> None:
        while not full.is_set() and limiter.pay(whose, CHUNK, lambda: not full.is_set()):
            with lock:
                paid[whose] += CHUNK
                if sum(paid.values()) >= total:
                    full.set()

    begun = time.monotonic()
    # One asks with more threads than the other, which gets it nothing.
    threads = [threading.Thread(target=take, args=(whose,)) for whose in "aaaab"]
    for thread in threads:
        thread.start()
    assert full.wait(DONE_S_MAX)
    took_s = time.monotonic() - begun
    for thread in threads:
        thread.join(DONE_S_MAX)
    assert total <= bytes_per_s * (took_s + RATE_SLACK_S) + CHUNK
    assert paid["b"] > total / 4, "half of it, but for moments in which its one thread was not in line"


def test_without_a_limit_nobody_waits_and_nothing_is_locked() -> None:
    limiter = Limiter()
    with limiter._lock:
        assert limiter.pay("a", 10**12, yes)
        assert limiter.pay("a", 10**12, yes)


def spent() -> Limiter:
    """One that lets nobody through for many hours."""
    limiter = Limiter(1)
    assert limiter.pay("somebody", CHUNK, yes)
    return limiter


@pytest.mark.parametrize("bytes_per_s", [UNLIMITED, 10**9])
def test_a_change_wakes_those_who_wait(bytes_per_s: int) -> None:
    limiter = spent()
    with waiting(limiter, "a") as first, waiting(limiter, "b") as second:
        limiter.change(bytes_per_s)
    assert (first, second) == ([True], [True])


def test_whoever_need_not_wait_any_more_has_paid_nothing() -> None:
    limiter = spent()
    asked = threading.Event()
    with waiting(limiter, still=lambda: asked.set() or False) as outcome:
        assert asked.wait(DONE_S_MAX)
    assert outcome == [False]
    limiter.change(CHUNK)
    begun = time.monotonic()
    assert limiter.pay("b", CHUNK, yes)
    assert time.monotonic() - begun < DONE_S_MAX, "the first alone is owed"


def test_an_error_of_who_waits_is_passed_on_and_the_next_goes_on() -> None:
    def gone() -> bool:
        raise Unavailable("peer_gone", "the peer closed the connection")

    limiter = spent()
    with waiting(limiter, "b") as next_one:
        with waiting(limiter, "a", gone) as outcome:
            pass
        assert outcome == ["peer_gone"]
        limiter.change(10**9)
    assert next_one == [True]
