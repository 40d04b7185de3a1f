"""A release crosses a rack's uplink about once, and nobody waits for ever for what was to cross it."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.ids import MachineId
from fleetcast.model.limits import (
    SWARM_COMING_S_MAX,
    SWARM_GATHERING_S,
    SWARM_IN_FLIGHT_MAX,
    SWARM_IN_FLIGHT_MIN,
    SWARM_NEIGHBOURS,
    SWARM_NEIGHBOURS_FAR,
)
from fleetcast.model.messages.agents import PeerAddress
from fleetcast.swarm.download import Download
from fleetcast.swarm.neighbours import Neighbourhood
from fleetcast.swarm.window import Window

COUNT = 24
ALL = ((0, COUNT),)


def _racked() -> Download:
    """A near neighbour that has nothing yet and a far one that has everything."""
    download = Download(COUNT, COUNT)
    download.join("near", near=True)
    download.join("far", near=False)
    download.hear("far", ALL)
    return download


def test_what_a_near_neighbour_has_is_not_asked_of_a_far_one() -> None:
    download = _racked()
    last = COUNT - 2  # of this machine's share: it is the first of two
    download.hear("near", ((0, last),))
    asked = download.plan(0.0, Random(1))
    assert [piece for machine, piece in asked if machine == "far"] == [last]
    assert len(asked) > 1


@given(st.integers(1, 5), st.integers(0, 2**32))
def test_a_rack_shares_what_it_fetches_from_outside(size: int, seed: int) -> None:
    """Before anybody has told what is coming: no piece twice, none left out."""
    names, asked = [f"m{number}" for number in range(size)], list[int]()
    for me in names:
        download = Download(COUNT, COUNT, me)
        download.join("far", near=False)
        for other in names:
            if other != me:
                download.join(other, near=True)
        download.hear("far", ALL)
        # Busy with one piece, which is nobody else's concern here, it keeps to its share.
        download.plan(0.0, Random(seed), 1)
        while plan := download.plan(0.0, Random(seed)):
            for machine, piece in plan:
                download.accept(piece, machine)
                download.own(piece)
                asked.append(piece)
    assert len(set(asked)) == len(asked)
    assert len(asked) >= COUNT - size


def test_one_that_has_nothing_to_do_fetches_what_is_not_its_share() -> None:
    download = _racked()
    download.hear_coming("near", tuple((piece, piece + 1) for piece in range(0, COUNT, 2)), 0.0)
    assert {piece % 2 for _, piece in download.plan(0.0, Random(1))} == {1}


@given(st.sets(st.integers(0, COUNT - 1)), st.integers(0, 2**32))
def test_what_is_coming_to_a_near_neighbour_is_asked_elsewhere_only_when_it_does_not_come(coming: set[int], seed: int) -> None:
    rng, download = Random(seed), _racked()
    download.hear_coming("near", tuple((piece, piece + 1) for piece in coming), 0.0)
    asked: set[int] = set()
    while plan := download.plan(0.0, rng):
        for machine, piece in plan:
            assert machine == "far"
            asked.add(piece)
            download.accept(piece, machine)
            download.own(piece)
            download.paid(machine, 0.0)
    assert asked == set(range(COUNT)) - coming
    late = SWARM_COMING_S_MAX + 0.1
    download.review(late)
    asked_late = {piece for _, piece in download.plan(late, rng)}
    assert asked_late <= coming
    assert bool(asked_late) == bool(coming)


def test_what_was_coming_and_came_is_had_from_the_near_neighbour() -> None:
    download = _racked()
    download.hear_coming("near", ALL, 0.0)
    assert download.plan(0.0, Random(1)) == []
    download.hear("near", ((3, 4),))
    assert download.plan(0.0, Random(1)) == [("near", 3)]


def test_one_that_is_doubted_keeps_nothing_from_being_asked_of_others() -> None:
    download = _racked()
    download.hear("near", ALL)
    download.plan(0.0, Random(1))
    late = 100.0
    assert "near" in download.review(late)
    assert "far" in {machine for machine, _ in download.plan(late, Random(1))}


def test_the_rest_of_the_rack_is_told_what_crosses_its_uplink_and_nothing_else() -> None:
    download = _racked()
    download.hear("near", ((0, 12),))
    asked = download.plan(0.0, Random(1))
    _, told = download.coming.since(0, COUNT)
    crossing = {piece for first, last in told for piece in range(first, last)}
    assert crossing == {piece for machine, piece in asked if machine == "far"}


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 2**32))
def test_neighbours_are_of_the_rack_with_ways_out_of_it(near: int, far: int, seed: int) -> None:
    rng, around = Random(seed), Neighbourhood(MachineId("me"), "z", "r1")
    around.meet(PeerAddress(MachineId(f"n{number}"), "127.0.0.1", 1, "z", "r1") for number in range(near))
    around.meet(PeerAddress(MachineId(f"f{number}"), "127.0.0.1", 1, "z", "r2") for number in range(far))
    dialled = [*around.dial(0.0, rng), *around.dial(SWARM_GATHERING_S, rng)]
    within = sum(around.near(address) for address in dialled)
    assert within == min(near, SWARM_NEIGHBOURS)
    assert len(dialled) - within == min(far, max(SWARM_NEIGHBOURS_FAR, SWARM_NEIGHBOURS - within))


def test_whoever_owes_least_is_asked_first() -> None:
    download = Download(COUNT, COUNT)
    for machine, load in (("busy", 9), ("free", 0)):
        download.join(machine)
        download.hear(machine, ALL)
        download.hear_load(machine, load)
    asked = [machine for machine, _ in download.plan(0.0, Random(1))]
    assert asked[0] == "free"
    assert asked.count("free") >= asked.count("busy")


@given(st.lists(st.floats(0.0001, 2.0), min_size=1, max_size=300))
def test_a_window_keeps_its_bounds_and_follows_what_arrives(gaps: list[float]) -> None:
    window, now = Window(SWARM_IN_FLIGHT_MIN, SWARM_IN_FLIGHT_MAX, 0.1), 0.0
    for gap in gaps:
        now += gap
        window.arrived(now)
        assert SWARM_IN_FLIGHT_MIN <= window.pieces <= SWARM_IN_FLIGHT_MAX
        assert window.share(1) == window.pieces
        assert window.share(8) * 8 >= window.pieces
    for _ in range(3000):
        now += 0.001
        window.arrived(now)
    assert window.pieces == SWARM_IN_FLIGHT_MAX
