"""Law 5: never more machines down than the service allows, and nobody stays without a permit for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, Limits
from fleetcast.model.ids import MachineId
from fleetcast.model.permit import PermitRequest
from fleetcast.region.permits import PermitBook, PermitTerms

MakeGoal = Callable[..., Goal]
NOBODY: frozenset[MachineId] = frozenset()


def request_of(machine: str, goal: Goal, *, available: bool = True) -> PermitRequest:
    return PermitRequest(MachineId(machine), goal.service, goal.environment, goal.generation, available)


@pytest.fixture
def one_at_a_time(make_goal: MakeGoal) -> Goal:
    return make_goal(limits=Limits(max_unavailable=1))


@pytest.fixture
def book() -> PermitBook:
    return PermitBook(PermitTerms(lifetime_s=10, settled_at=0))


def test_without_a_limit_everybody_may(make_goal: MakeGoal, book: PermitBook) -> None:
    goal = make_goal()
    assert all(book.ask(request_of(f"m{index}", goal), goal, NOBODY, 0, 0).granted for index in range(100))


def test_the_second_waits_until_the_first_is_done(one_at_a_time: Goal, book: PermitBook) -> None:
    first, second = request_of("m1", one_at_a_time), request_of("m2", one_at_a_time)
    assert book.ask(first, one_at_a_time, NOBODY, 0, 0).granted
    refused = book.ask(second, one_at_a_time, NOBODY, 1, 0)
    assert not refused.granted
    assert refused.reason == "1 of at most 1 machines of web are down"
    assert refused.expires_in_s > 0
    book.release(first)
    assert book.ask(second, one_at_a_time, NOBODY, 2, 0).granted


def test_a_permit_that_is_not_renewed_runs_out(one_at_a_time: Goal, book: PermitBook) -> None:
    first, second = request_of("m1", one_at_a_time), request_of("m2", one_at_a_time)
    assert book.ask(first, one_at_a_time, NOBODY, 0, 0).expires_in_s == 10
    assert book.ask(first, one_at_a_time, NOBODY, 5, 0).granted, "its holder renews it"
    assert not book.ask(second, one_at_a_time, NOBODY, 14.9, 0).granted
    assert book.ask(second, one_at_a_time, NOBODY, 15, 0).granted


def test_a_machine_that_is_down_counts_but_needs_no_permit(one_at_a_time: Goal, book: PermitBook) -> None:
    down = frozenset({MachineId("m1")})
    assert not book.ask(request_of("m2", one_at_a_time), one_at_a_time, down, 0, 0).granted
    assert book.ask(request_of("m1", one_at_a_time, available=False), one_at_a_time, down, 0, 0).granted


def test_a_rollback_has_a_limit_of_its_own(one_at_a_time: Goal, book: PermitBook) -> None:
    back = replace(one_at_a_time, rollback=True)
    assert all(book.ask(request_of(f"m{index}", back), back, NOBODY, 0, 0).granted for index in range(10))


def test_after_a_start_limited_permits_wait_until_old_ones_have_run_out(one_at_a_time: Goal, make_goal: MakeGoal) -> None:
    book = PermitBook(PermitTerms(lifetime_s=10, settled_at=10))
    early = book.ask(request_of("m1", one_at_a_time), one_at_a_time, NOBODY, 9, 0)
    assert not early.granted
    assert "just started" in early.reason
    unlimited = make_goal()
    assert book.ask(request_of("m2", unlimited), unlimited, NOBODY, 9, 0).granted
    assert book.ask(request_of("m1", one_at_a_time), one_at_a_time, frozenset(), 30, 0).granted


def test_an_expired_goal_stops_nothing(one_at_a_time: Goal, book: PermitBook) -> None:
    decision = book.ask(request_of("m1", one_at_a_time), one_at_a_time, NOBODY, 0, one_at_a_time.expires_at_ms)
    assert not decision.granted
    assert "expired" in decision.reason


def test_a_goal_that_has_moved_on_gives_no_permit(one_at_a_time: Goal, book: PermitBook) -> None:
    old = replace(request_of("m1", one_at_a_time), generation=Generation(0, 0))
    assert not book.ask(old, one_at_a_time, NOBODY, 0, 0).granted
    assert not book.ask(request_of("m1", one_at_a_time), None, NOBODY, 0, 0).granted


def test_one_service_does_not_hold_up_another(make_goal: MakeGoal, book: PermitBook) -> None:
    web, api = (make_goal(service=name, limits=Limits(max_unavailable=1)) for name in ("web", "api"))
    assert book.ask(request_of("m1", web), web, NOBODY, 0, 0).granted
    assert book.ask(request_of("m2", api), api, NOBODY, 0, 0).granted


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.floats(0, 4)), max_size=60),
    st.integers(1, 3),
    st.frozensets(st.sampled_from("abcdef")),
)
def test_never_more_than_allowed(
    make_goal: MakeGoal, calls: list[tuple[str, bool, float]], most: int, down_names: frozenset[str]
) -> None:
    goal = make_goal(limits=Limits(max_unavailable=most))
    book = PermitBook(PermitTerms(lifetime_s=10, settled_at=0))
    down = frozenset(MachineId(name) for name in down_names)
    holds: dict[str, float] = {}
    now = 0.0
    for machine, wants, pause in calls:
        now += pause
        holds = {name: until for name, until in holds.items() if until > now}
        request = request_of(machine, goal)
        if not wants:
            book.release(request)
            holds.pop(machine, None)
        elif book.ask(request, goal, down, now, 0).granted:
            assert machine in holds or len((holds.keys() | down) - {machine}) < most
            holds[machine] = now + 10
