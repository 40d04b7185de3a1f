"""Law 5: never more machines down than the service allows, and nobody stays without a permit for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, Limits
from fleetcast.model.ids import MachineId
from fleetcast.model.limits import PERMIT_ASKS_PER_S
from fleetcast.model.permit import PermitRequest
from fleetcast.region.permits import ASK_AGAIN_S, PermitBook, PermitTerms
from fleetcast.region.places import Spot, Tally

MakeGoal = Callable[..., Goal]
NOBODY = Tally()
HERE = Spot("a", "r1")


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
    assert all(book.ask(request_of(f"m{index}", goal), goal, HERE, NOBODY, 0, 0).granted for index in range(100))


def test_the_second_waits_until_the_first_is_done(one_at_a_time: Goal, book: PermitBook) -> None:
    first, second = request_of("m1", one_at_a_time), request_of("m2", one_at_a_time)
    assert book.ask(first, one_at_a_time, HERE, NOBODY, 0, 0).granted
    refused = book.ask(second, one_at_a_time, HERE, NOBODY, 1, 0)
    assert not refused.granted
    assert refused.reason == "1 of at most 1 machines of web are down"
    assert refused.expires_in_s > 0
    book.release(first)
    assert book.ask(second, one_at_a_time, HERE, NOBODY, 2, 0).granted


def test_a_permit_that_is_not_renewed_runs_out(one_at_a_time: Goal, book: PermitBook) -> None:
    first, second = request_of("m1", one_at_a_time), request_of("m2", one_at_a_time)
    assert book.ask(first, one_at_a_time, HERE, NOBODY, 0, 0).expires_in_s == 10
    assert book.ask(first, one_at_a_time, HERE, NOBODY, 5, 0).granted, "its holder renews it"
    assert not book.ask(second, one_at_a_time, HERE, NOBODY, 14.9, 0).granted
    assert book.ask(second, one_at_a_time, HERE, NOBODY, 15, 0).granted


def test_a_machine_that_is_down_counts_but_needs_no_permit(one_at_a_time: Goal, book: PermitBook) -> None:
    down = Tally()
    down.add(MachineId("m1"), HERE)
    assert not book.ask(request_of("m2", one_at_a_time), one_at_a_time, HERE, down, 0, 0).granted
    assert book.ask(request_of("m1", one_at_a_time, available=False), one_at_a_time, HERE, down, 0, 0).granted


def test_a_rollback_has_a_limit_of_its_own(one_at_a_time: Goal, book: PermitBook) -> None:
    back = replace(one_at_a_time, rollback=True)
    assert all(book.ask(request_of(f"m{index}", back), back, HERE, NOBODY, 0, 0).granted for index in range(10))


def test_after_a_start_limited_permits_wait_until_old_ones_have_run_out(one_at_a_time: Goal, make_goal: MakeGoal) -> None:
    book = PermitBook(PermitTerms(lifetime_s=10, settled_at=10))
    early = book.ask(request_of("m1", one_at_a_time), one_at_a_time, HERE, NOBODY, 9, 0)
    assert not early.granted
    assert "just started" in early.reason
    unlimited = make_goal()
    assert book.ask(request_of("m2", unlimited), unlimited, HERE, NOBODY, 9, 0).granted
    assert book.ask(request_of("m1", one_at_a_time), one_at_a_time, HERE, NOBODY, 30, 0).granted


def test_an_expired_goal_stops_nothing(one_at_a_time: Goal, book: PermitBook) -> None:
    decision = book.ask(request_of("m1", one_at_a_time), one_at_a_time, HERE, NOBODY, 0, one_at_a_time.expires_at_ms)
    assert not decision.granted
    assert "expired" in decision.reason


def test_a_goal_that_has_moved_on_gives_no_permit(one_at_a_time: Goal, book: PermitBook) -> None:
    old = replace(request_of("m1", one_at_a_time), generation=Generation(0, 0))
    assert not book.ask(old, one_at_a_time, HERE, NOBODY, 0, 0).granted
    assert not book.ask(request_of("m1", one_at_a_time), None, HERE, NOBODY, 0, 0).granted


def test_one_service_does_not_hold_up_another(make_goal: MakeGoal, book: PermitBook) -> None:
    web, api = (make_goal(service=name, limits=Limits(max_unavailable=1)) for name in ("web", "api"))
    assert book.ask(request_of("m1", web), web, HERE, NOBODY, 0, 0).granted
    assert book.ask(request_of("m2", api), api, HERE, NOBODY, 0, 0).granted


@pytest.mark.parametrize(
    ("limits", "there", "reason"),
    [
        (Limits(5, max_unavailable_rack=1), Spot("a", "r1"), "1 of at most 1 machines of web in rack r1 are down"),
        (Limits(5, max_unavailable_rack=1), Spot("a", "r2"), ""),
        (Limits(5, max_unavailable_rack=1), Spot("b", "r1"), ""),
        (Limits(max_unavailable_zone=1), Spot("a", "r2"), "1 of at most 1 machines of web in zone a are down"),
        (Limits(max_unavailable_zone=1), Spot("b", "r1"), ""),
        (Limits(1, max_unavailable_rack=1), Spot("b", "r9"), "1 of at most 1 machines of web are down"),
    ],
)
def test_racks_and_zones_have_limits_of_their_own(
    make_goal: MakeGoal, book: PermitBook, limits: Limits, there: Spot, reason: str
) -> None:
    goal = make_goal(limits=limits)
    assert book.ask(request_of("m1", goal), goal, HERE, NOBODY, 0, 0).granted
    decision = book.ask(request_of("m2", goal), goal, there, NOBODY, 0, 0)
    assert (decision.granted, decision.reason) == (not reason, reason)


def test_one_that_is_down_counts_in_its_own_rack(make_goal: MakeGoal, book: PermitBook) -> None:
    goal, down = make_goal(limits=Limits(max_unavailable_rack=1)), Tally()
    down.add(MachineId("m1"), HERE)
    assert not book.ask(request_of("m2", goal), goal, HERE, down, 0, 0).granted
    assert book.ask(request_of("m3", goal), goal, Spot("a", "r2"), down, 0, 0).granted


def test_where_a_machine_is_must_be_known_where_it_matters(make_goal: MakeGoal, book: PermitBook) -> None:
    placed, anywhere = make_goal(limits=Limits(max_unavailable_rack=1)), make_goal("api", limits=Limits(1))
    assert "where m1 is" in book.ask(request_of("m1", placed), placed, None, NOBODY, 0, 0).reason
    assert book.ask(request_of("m1", anywhere), anywhere, None, NOBODY, 0, 0).granted


def test_machines_that_name_no_rack_are_taken_to_be_in_one(make_goal: MakeGoal, book: PermitBook) -> None:
    goal = make_goal(limits=Limits(max_unavailable_rack=1))
    assert book.ask(request_of("m1", goal), goal, Spot("a"), NOBODY, 0, 0).granted
    refused = book.ask(request_of("m2", goal), goal, Spot("a"), NOBODY, 0, 0)
    assert refused.reason == "1 of at most 1 machines of web in no known rack are down"
    assert book.ask(request_of("m3", goal), goal, HERE, NOBODY, 0, 0).granted


def test_places_do_not_hold_up_a_rollback(make_goal: MakeGoal, book: PermitBook) -> None:
    back = replace(make_goal(limits=Limits(1, 2, 1, 1)), rollback=True)
    asked = [book.ask(request_of(f"m{index}", back), back, HERE, NOBODY, 0, 0) for index in range(3)]
    assert [decision.granted for decision in asked] == [True, True, False]
    assert asked[2].reason == "2 of at most 2 machines of web are down"


def test_the_more_wait_the_less_often_each_asks(one_at_a_time: Goal) -> None:
    book, many = PermitBook(PermitTerms(lifetime_s=300, settled_at=0)), 10_000
    assert book.ask(request_of("m", one_at_a_time), one_at_a_time, HERE, NOBODY, 0, 0).granted
    asks = [request_of(f"m{index}", one_at_a_time) for index in range(many)]
    pauses = [book.ask(ask, one_at_a_time, HERE, NOBODY, 1, 0).expires_in_s for ask in asks]
    assert (pauses[0], pauses[-1]) == (ASK_AGAIN_S, many / PERMIT_ASKS_PER_S)
    # Those that went away are waited for no more.
    assert book.ask(asks[0], one_at_a_time, HERE, NOBODY, 302, 0).expires_in_s == 300
    book.release(request_of("m", one_at_a_time))
    assert book.ask(asks[0], one_at_a_time, HERE, NOBODY, 700, 0).granted
    assert book.ask(asks[1], one_at_a_time, HERE, NOBODY, 1100, 0).granted
