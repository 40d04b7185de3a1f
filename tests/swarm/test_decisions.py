"""The swarm's decisions as properties: whatever happens, in whatever order."""

from __future__ import annotations

from array import array
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fleetcast.model.ids import Digest, MachineId
from fleetcast.model.limits import (
    ANNOUNCE_LIFETIME_S,
    SWARM_CHANGE_S_MIN,
    SWARM_CROWDED,
    SWARM_DIALS_IN_VAIN_MAX,
    SWARM_END_GAME_AGE_S_MIN,
    SWARM_GATHERING_S,
    SWARM_IN_FLIGHT_MAX,
    SWARM_IN_FLIGHT_MIN,
    SWARM_INTRODUCED_MAX,
    SWARM_NEIGHBOURS,
    SWARM_NEIGHBOURS_FIRST,
    SWARM_REDIAL_S_MAX,
    SWARM_STARVING_S_MAX,
    SWARM_UPLOADS_MAX,
    SWARM_USELESS_S_MAX,
)
from fleetcast.model.messages.agents import AnnounceRequest, PeerAddress
from fleetcast.swarm.download import LOCAL, ORIGIN, Download
from fleetcast.swarm.neighbours import Neighbourhood
from fleetcast.swarm.peering import GATHERING_MIN, GATHERING_PARTS
from fleetcast.swarm.picker import MISSING, OWNED, PENDING, Candidates, end_game
from fleetcast.swarm.slots import Slots
from fleetcast.swarm.tracker import Tracker

SWARM = Digest("d" * 64)


def _peer(name: str, zone: str = "", rack: str = "") -> PeerAddress:
    return PeerAddress(MachineId(name), "127.0.0.1", 1, zone, rack)


# Picking


@given(st.lists(st.sampled_from([MISSING, PENDING, OWNED]), min_size=1, max_size=80), st.integers(0, 2**32))
def test_a_pick_is_missing_and_fails_only_when_nothing_is(states: list[int], seed: int) -> None:
    candidates, holders = Candidates(), array("H", range(len(states)))
    for piece in range(len(states)):
        candidates.add(piece)
    picked = candidates.pick(bytearray(states), holders, Random(seed))
    assert (picked is None) == (MISSING not in states)
    assert picked is None or states[picked] == MISSING


def test_the_rarest_is_preferred() -> None:
    holders, picked = array("H", [9] * 10), Counter[int | None]()
    holders[3] = 1
    for seed in range(200):
        candidates = Candidates()
        for piece in range(10):
            candidates.add(piece)
        picked[candidates.pick(bytearray(10), holders, Random(seed))] += 1
    assert picked[3] > 150


def test_end_game_asks_a_second_peer_for_what_is_overdue_and_never_a_third() -> None:
    has = bytearray([1, 1, 1, 0])
    late = 100.0 + SWARM_END_GAME_AGE_S_MIN
    asked = {0: {"a": 100.0, "b": 100.0}, 1: {"a": 101.0}, 2: {"c": 100.0}, 3: {"a": 0.0}}
    assert end_game(asked, has, "me", late) == 2
    assert end_game(asked, has, "me", late - 0.1) is None
    assert end_game({2: {"me": 0.0}}, has, "me", late) is None


def test_nobody_is_asked_a_second_time_while_something_was_asked_of_nobody() -> None:
    rng, download = Random(1), Download(3, 3)
    for name in ("a", "b"):
        download.join(name)
    download.hear("a", ((0, 2),))
    asked = download.plan(0.0, rng)
    assert sorted(asked) == [("a", 0), ("a", 1)]
    download.hear("b", ((0, 2),))
    late = SWARM_END_GAME_AGE_S_MIN
    assert download.plan(late, rng) == [], "piece 2 is nobody's yet"
    download.take([2], ORIGIN, late)
    [(who, piece)] = download.plan(late, rng)
    assert who == "b"
    assert piece in (0, 1)


@pytest.mark.parametrize(("pieces_per_s", "together"), [(20, 1), (400, SWARM_IN_FLIGHT_MAX // SWARM_IN_FLIGHT_MIN)])
def test_what_comes_fast_is_asked_for_in_groups_and_what_comes_slowly_piece_by_piece(pieces_per_s: int, together: int) -> None:
    rng, download, now = Random(1), Download(2_000, 2_000), 0.0
    for name in ("a", "b", "c", "d"):
        download.join(name)
        download.hear(name, ((0, 2_000),))
    owed = download.plan(now, rng)
    told: list[list[str]] = []
    for _ in range(600):
        name, piece = owed.pop(0)
        now += 1 / pieces_per_s
        assert download.accept(piece, name)
        download.own(piece)
        download.paid(name, now)
        asks = download.plan(now, rng)
        owed += asks
        told.append([asked for asked, _ in asks])
        assert SWARM_IN_FLIGHT_MIN - together < len(owed) <= SWARM_IN_FLIGHT_MAX
    settled = [names for names in told[300:] if names]
    assert {len(names) for names in settled} == {together}
    assert all(len(set(names)) == 1 for names in settled), "a group is one neighbour's"


# The download, whatever its threads do


class DownloadMachine(RuleBasedStateMachine):
    """Threads are rules. ``owing`` is what each asker was asked for, kept by the test."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.rng, self.now = Random(seed), 0.0
        self.download = Download(3, 12)
        self.owing: dict[str, set[int]] = {ORIGIN: set(), LOCAL: set()}
        self.writing: set[int] = set()
        self.owned: set[int] = set()

    def _some(self, data: st.DataObject, askers: list[str]) -> tuple[str, int] | None:
        owed = sorted((asker, piece) for asker in askers for piece in self.owing.get(asker, ()))
        return data.draw(st.sampled_from(owed)) if owed else None

    @rule(name=st.sampled_from("abc"), flags=st.sets(st.integers(0, 11)))
    def join_or_hear(self, name: str, flags: set[int]) -> None:
        if name not in self.owing:
            self.download.join(name)
            self.owing[name] = set()
        self.download.hear(name, tuple((piece, piece + 1) for piece in flags))

    @rule(name=st.sampled_from("abc"))
    def leave(self, name: str) -> None:
        if self.owing.pop(name, None) is not None:
            self.download.leave(name)

    @rule(local=st.sets(st.integers(3, 9)))
    def learn(self, local: set[int]) -> None:
        if self.download.known == 3:
            self.download.learn(10, local)
            self.owing[LOCAL] = set(local)

    @rule(wait=st.floats(0, 3))
    def ask(self, wait: float) -> None:
        self.now += wait
        for name, piece in self.download.plan(self.now, self.rng):
            assert piece not in self.owned, "nothing is asked for that is here"
            assert piece not in self.owing[name], "nor twice of one neighbour"
            self.owing[name].add(piece)
        assert sum(len(owed) for name, owed in self.owing.items() if name in ("a", "b", "c")) <= SWARM_IN_FLIGHT_MAX + 3

    @rule(wait=st.floats(0, 4))
    def look_around(self, wait: float) -> None:
        self.now += wait
        self.download.review(self.now)

    @rule()
    def lease(self) -> None:
        ranges = self.download.without_holder(self.rng)
        pieces = [piece for first, last in ranges for piece in range(first, last)]
        # A region may say anything: -3, 11 and 99 are numbers of no known piece.
        taken = self.download.take([*pieces[:2], -3, 11, 99], ORIGIN, self.now)
        assert set(taken) == set(pieces[:2])
        self.owing[ORIGIN] |= set(taken)

    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        some = self._some(data, list(self.owing))
        if some is not None:
            asker, piece = some
            self.owing[asker].discard(piece)
            first = self.download.accept(piece, asker)
            if asker not in (ORIGIN, LOCAL):
                self.download.paid(asker, self.now)
            assert first == (piece not in self.owned | self.writing), "the first one, and only that, is written"
            if first:
                self.writing.add(piece)

    @rule(data=st.data(), good=st.booleans())
    def written(self, data: st.DataObject, good: bool) -> None:
        if self.writing:
            piece = data.draw(st.sampled_from(sorted(self.writing)))
            self.writing.discard(piece)
            if good:
                self.download.own(piece)
                self.owned.add(piece)
            else:
                self.download.refuse(piece)

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        some = self._some(data, list(self.owing))
        if some is not None:
            self.owing[some[0]].discard(some[1])
            self.download.give_up(some[1], some[0])

    @rule()
    def disk_is_done(self) -> None:
        self.download.give_up_local()
        self.owing[LOCAL].clear()

    @rule(data=st.data())
    def lack(self, data: st.DataObject) -> None:
        some = self._some(data, ["a", "b", "c"])
        if some is not None:
            self.owing[some[0]].discard(some[1])
            self.download.lacks(*some)

    @rule(piece=st.integers(0, 11))
    def rot(self, piece: int) -> None:
        assert self.download.forget(piece) == (piece in self.owned)
        self.owned.discard(piece)

    @invariant()
    def every_piece_is_where_it_should_be(self) -> None:
        if not hasattr(self, "download"):
            return
        download = self.download
        flags = download.owned_flags()
        assert {piece for piece, flag in enumerate(flags) if flag} == self.owned
        assert download.missing == download.known - len(self.owned)
        for piece in range(download.known):
            trusted = [owed for asker, owed in self.owing.items() if not download.doubts(asker)]
            worked_on = piece in self.writing or any(piece in owed for owed in trusted)
            if piece not in self.owned:
                # The one that matters: a piece nobody brings can be asked for again.
                assert download.states[piece] == (PENDING if worked_on else MISSING)


DownloadMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestDownload = DownloadMachine.TestCase


@given(st.lists(st.sets(st.integers(0, 19)), min_size=1, max_size=4), st.integers(0, 2**32))
def test_a_download_ends_when_neighbours_and_origin_answer(neighbours: list[set[int]], seed: int) -> None:
    rng, download = Random(seed), Download(20, 20)
    for number, has in enumerate(neighbours):
        download.join(str(number))
        download.hear(str(number), tuple((piece, piece + 1) for piece in has))
    from_origin = set()
    for _ in range(100):
        for name, piece in download.plan(0.0, rng):
            assert download.accept(piece, name)
            download.own(piece)
        for first, last in download.without_holder(rng):
            for piece in download.take(range(first, last), ORIGIN, 0.0):
                from_origin.add(piece)
                assert download.accept(piece, ORIGIN)
                download.own(piece)
    assert download.missing == 0
    assert from_origin == set(range(20)) - set().union(*neighbours), "the origin gave only what no neighbour had"


# Neighbours


def _dial_all(around: Neighbourhood, rng: Random) -> list[PeerAddress]:
    """Also those that are left for the time when the swarm has gathered."""
    return [*around.dial(0.0, rng), *around.dial(SWARM_GATHERING_S, rng)]


@given(st.integers(SWARM_NEIGHBOURS, 12), st.integers(0, 2**32))
def test_of_a_swarm_that_gathers_few_are_dialled_before_the_last_ones_came(late: int, seed: int) -> None:
    rng, around = Random(seed), Neighbourhood(MachineId("me"))
    early = [_peer(f"early{number}") for number in range(SWARM_NEIGHBOURS)]
    around.meet(early)
    first = around.dial(0.0, rng)
    assert len(first) == SWARM_NEIGHBOURS_FIRST
    around.meet([_peer(f"late{number}") for number in range(late)])
    assert around.dial(SWARM_GATHERING_S / 2, rng) == ()
    assert len(around.dial(SWARM_GATHERING_S, rng)) == SWARM_NEIGHBOURS - SWARM_NEIGHBOURS_FIRST
    large = Neighbourhood(MachineId("me"))
    large.meet([_peer(f"m{number}") for number in range(SWARM_INTRODUCED_MAX)])
    assert len(large.dial(0.0, rng)) == SWARM_NEIGHBOURS, "it has gathered already"


@given(st.integers(0, 40), st.integers(0, 2**32))
def test_no_more_neighbours_than_allowed_and_never_oneself(known: int, seed: int) -> None:
    rng, around = Random(seed), Neighbourhood(MachineId("me"))
    around.meet([_peer("me"), *(_peer(f"m{number}") for number in range(known))])
    first = _dial_all(around, rng)
    assert len(first) == min(known, SWARM_NEIGHBOURS)
    assert MachineId("me") not in {address.machine for address in first}
    assert around.dial(SWARM_GATHERING_S, rng) == ()
    for address in first:
        around.ended(address.machine, SWARM_GATHERING_S, rng, failed=True)
    again = {address.machine for address in around.dial(SWARM_GATHERING_S + 0.1, rng)}
    assert again.isdisjoint(address.machine for address in first), "not at once"


def test_an_address_in_vain_is_forgotten_and_a_liar_never_dialled_again() -> None:
    rng, around = Random(1), Neighbourhood(MachineId("me"))
    around.meet([_peer("gone"), _peer("liar")])
    around.dial(0.0, rng)
    around.ban(MachineId("liar"), "lied")
    now = 0.0
    for _ in range(SWARM_DIALS_IN_VAIN_MAX):
        around.ended(MachineId("gone"), now, rng, failed=True)
        now += SWARM_REDIAL_S_MAX
        around.dial(now, rng)
    around.meet([_peer("liar")])
    assert around.dial(now, rng) == ()
    around.meet([_peer("gone")])
    assert around.dial(now, rng) == (_peer("gone"),)


def test_the_origin_waits_for_the_neighbours_to_speak() -> None:
    rng, around = Random(1), Neighbourhood(MachineId("me"))
    assert not around.settled(0.0)
    around.meet([])
    assert around.settled(0.0), "introduced to nobody: alone"
    around.meet([_peer("a"), _peer("b")])
    assert not around.settled(0.0)
    around.dial(0.0, rng)
    around.ended(MachineId("a"), 0.0, rng, failed=True)
    assert not around.settled(0.0)
    around.greeted(MachineId("b"))
    assert around.settled(0.0)


def test_a_useless_neighbour_makes_room_when_somebody_else_could_be_tried() -> None:
    rng, around = Random(1), Neighbourhood(MachineId("me"))
    peers = [_peer(f"m{number}") for number in range(SWARM_NEIGHBOURS)]
    around.meet(peers)
    dialled = [address.machine for address in _dial_all(around, rng)]
    for machine in dialled[1:]:
        around.useful(machine, SWARM_USELESS_S_MAX)
    late = SWARM_USELESS_S_MAX + 1.0
    assert around.replaceable(late, rng) is None, "nobody else is known"
    around.meet([_peer("fresh")])
    assert around.replaceable(SWARM_CHANGE_S_MIN - 0.1, rng, starving=True) is None, "they have hardly been asked"
    assert around.replaceable(SWARM_STARVING_S_MAX + 0.1, rng) is None
    assert around.replaceable(SWARM_STARVING_S_MAX + 0.1, rng, starving=True) == dialled[0]
    assert around.replaceable(SWARM_STARVING_S_MAX + 0.2, rng, starving=True) is None, "one at a time"
    # A newcomer may displace anybody, once; then it is the useless one that goes.
    around.replaceable(late, rng)
    assert around.replaceable(late + SWARM_CHANGE_S_MIN, rng) == dialled[0]


@given(st.lists(st.integers(1, 40), min_size=SWARM_NEIGHBOURS, max_size=SWARM_NEIGHBOURS), st.integers(0, 2**32))
def test_a_neighbour_that_serves_far_more_than_others_makes_room(askers: list[int], seed: int) -> None:
    rng, around = Random(seed), Neighbourhood(MachineId("me"))
    around.meet([_peer(f"m{number}") for number in range(SWARM_NEIGHBOURS)])
    dialled = [address.machine for address in _dial_all(around, rng)]
    around.meet([_peer("other")])
    told = dict(zip(dialled, askers, strict=True))
    now = SWARM_CHANGE_S_MIN + 0.1
    left = around.replaceable(now, rng, askers=told)
    if max(askers) > SWARM_CROWDED * sum(askers) / len(askers):
        assert left is not None
        assert told[left] == max(askers)
    else:
        assert left is None


def test_one_that_owes_is_left_only_when_all_do() -> None:
    rng, around = Random(1), Neighbourhood(MachineId("me"))
    around.meet([_peer(f"m{number}") for number in range(SWARM_NEIGHBOURS)])
    dialled = [address.machine for address in _dial_all(around, rng)]
    around.meet([_peer("other")])
    for step in range(1, 40):
        now = step * SWARM_CHANGE_S_MIN
        assert around.replaceable(now, rng, starving=True, owing=dialled[1:]) in (dialled[0], None)
    assert around.replaceable(100.0, rng, starving=True, owing=dialled) in dialled


def test_who_is_left_by_choice_is_asked_for_nothing_more_and_is_not_doubted_when_it_comes_back() -> None:
    rng, download = Random(1), Download(8, 8)
    for name in ("left", "stays"):
        download.join(name)
        download.hear(name, ((0, 8),))
    first = download.plan(0.0, rng)
    assert download.debtors() == {"left", "stays"}
    download.excuse("left")
    again = download.plan(0.1, rng)
    assert {piece for name, piece in first if name == "left"} == {piece for _, piece in again}
    assert {name for name, _ in again} == {"stays"}
    download.leave("left")
    assert not download.doubts("left")


def test_only_what_may_be_asked_for_is_news() -> None:
    download = Download(8, 8)
    download.join("a")
    assert download.hear("a", ((0, 4),))
    assert not download.hear("a", ((0, 4),))
    download.accept(5, "")
    download.own(5)
    assert not download.hear("a", ((5, 6),))


def test_those_who_come_late_become_neighbours_of_those_who_came_first() -> None:
    late_ones = 0
    for seed in range(50):
        rng, around, now = Random(seed), Neighbourhood(MachineId("me")), 0.0
        chosen: set[str] = set()
        for number in range(4 * SWARM_NEIGHBOURS):
            around.meet([_peer(f"m{number:02}")])
            now += SWARM_REDIAL_S_MAX
            while (leave := around.replaceable(now, rng)) is not None:
                around.ended(leave, now, rng, failed=False)
                chosen.discard(leave)
                chosen |= {address.machine for address in around.dial(now, rng)}
            chosen |= {address.machine for address in around.dial(now, rng)}
            for machine in chosen:
                around.useful(MachineId(machine), now)
        assert len(chosen) == min(SWARM_NEIGHBOURS, len(chosen))
        late_ones += sum(machine >= f"m{2 * SWARM_NEIGHBOURS:02}" for machine in chosen)
    assert late_ones > 50 * SWARM_NEIGHBOURS * 0.3, "half of them are late: of the neighbours it should be about half too"


# Slots


def test_slots_are_bounded_and_a_machine_that_dials_again_replaces_itself() -> None:
    slots = Slots()
    for number in range(SWARM_UPLOADS_MAX):
        assert slots.admit(number, MachineId(f"m{number}"), SWARM).admitted
    assert not slots.admit(1000, MachineId("late"), SWARM).admitted
    again = slots.admit(1001, MachineId("m0"), SWARM)
    assert (again.admitted, again.replaces) == (True, 0)
    slots.leave(0, MachineId("m0"), SWARM)
    assert not slots.admit(1002, MachineId("late"), SWARM).admitted, "the replaced one had no slot to give back"
    slots.leave(1001, MachineId("m0"), SWARM)
    assert slots.admit(1003, MachineId("late"), SWARM).admitted


# The tracker


def _announce(
    tracker: Tracker, peer: PeerAddress, now: float, rng: Random, want: int = 8, leaving: bool = False
) -> tuple[PeerAddress, ...]:
    return tracker.announce(SWARM, AnnounceRequest(peer, Digest("r" * 64), False, want, leaving), now, rng)


def test_members_expire_and_leave() -> None:
    tracker, rng = Tracker(), Random(1)
    _announce(tracker, _peer("a"), 0.0, rng)
    _announce(tracker, _peer("b"), 5.0, rng)
    assert {peer.machine for peer in _announce(tracker, _peer("c"), 6.0, rng)} == {"a", "b"}
    now = ANNOUNCE_LIFETIME_S + 1.0
    assert not tracker.alive(SWARM, MachineId("a"), now)
    assert tracker.alive(SWARM, MachineId("b"), now)
    assert tracker.members(SWARM, now) == 2
    _announce(tracker, _peer("b"), now, rng, leaving=True)
    assert tracker.members(SWARM, now) == 1
    tracker.expire(100.0)
    assert tracker.members(SWARM, 100.0) == 0


@given(st.integers(2, 60), st.integers(1, 24), st.integers(0, 2**32))
def test_introductions_are_to_others_and_to_as_many_as_there_are(size: int, want: int, seed: int) -> None:
    tracker, rng = Tracker(), Random(seed)
    for number in range(size):
        _announce(tracker, _peer(f"m{number}", "z", f"r{number % 4}"), 0.0, rng, 0)
    peers = _announce(tracker, _peer("m0", "z", "r0"), 0.0, rng, want)
    machines = [peer.machine for peer in peers]
    assert "m0" not in machines
    assert len(set(machines)) == len(machines) <= want
    assert len(machines) == min(size - 1, want, max(GATHERING_MIN, size // GATHERING_PARTS))


def test_in_a_swarm_that_gathers_nobody_is_known_to_all_and_in_the_end_all_know_many() -> None:
    tracker, rng, known = Tracker(), Random(7), dict[MachineId, set[MachineId]]()
    size = 36
    for number in range(size):
        peer = _peer(f"m{number:02}")
        known[peer.machine] = {address.machine for address in _announce(tracker, peer, 0.0, rng, 24)}
    introduced = Counter(machine for others in known.values() for machine in others)
    assert max(introduced.values()) <= size / 2
    for turn in range(1, 5):
        for machine, others in known.items():
            others |= {address.machine for address in _announce(tracker, _peer(machine), float(turn), rng, 24 - len(others))}
    assert min(len(others) for others in known.values()) >= 16


def test_the_graph_is_near_regular_prefers_the_rack_and_always_leads_out() -> None:
    tracker, rng = Tracker(), Random(7)
    peers = [_peer(f"m{number}", f"z{number % 3}", f"r{number % 12}") for number in range(360)]
    for peer in peers:
        _announce(tracker, peer, 0.0, rng, 0)
    introduced, near = Counter[MachineId](), 0
    for peer in peers:
        chosen = _announce(tracker, peer, 1.0, rng, 8)
        introduced.update(address.machine for address in chosen)
        same = [address for address in chosen if (address.zone, address.rack) == (peer.zone, peer.rack)]
        near += len(same)
        assert len(same) < len(chosen), "some edge leads out of the rack"
    assert near >= 0.4 * 8 * len(peers)
    assert len(introduced) == len(peers), "everybody is known to somebody"
    assert max(introduced.values()) <= 2 * 8
