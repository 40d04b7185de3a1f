"""What a machine does next, for every state it may be in."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetcast.agent.reconcile import Decision, Disk, Observed, ProcessStatus, backoff_ms, reconcile
from fleetcast.agent.retention import kept, learned
from fleetcast.agent.state import Activation, Active, Failure, ServiceState, failed, passed
from fleetcast.model.generation import Generation
from fleetcast.model.goal import EVERYONE, Cohort, Goal, Limits, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, MachineId, RegionName, ServiceName
from fleetcast.model.limits import RESTART_BACKOFF_S_MAX
from fleetcast.model.machine import Machine, Selector

MACHINE = Machine(MachineId("m1"), RegionName("eu"))
IN, OUT = EVERYONE, -1


def release(name: str) -> ReleaseRef:
    return ReleaseRef(ArtifactName(f"web/{name}"), Digest(name * 64), Digest(name.upper() * 64))


A, B, C = release("a"), release("b"), release("c")


def goal(target: ReleaseRef, baseline: ReleaseRef | None = None, *, number: int = 1, threshold: int = IN) -> Goal:
    return Goal(
        service=ServiceName("web"),
        environment="production",
        generation=Generation(0, number),
        deployment=DeploymentId(f"d{number}"),
        rollback=False,
        selector=Selector(),
        target=target,
        baseline=baseline,
        cohorts=(Cohort(Selector(), threshold),),
        limits=Limits(),
        expires_at_ms=1000,
    )


def disk(*releases: ReleaseRef) -> Disk:
    return Disk(frozenset(r.digest for r in releases), frozenset(), frozenset(r.root for r in releases))


def running(what: ReleaseRef, *, ok: bool = True) -> Active:
    return Active(what, "activation", ok, "boot", 0)


def seen(goal: Goal | None, state: ServiceState, on_disk: Disk, **more: object) -> Observed:
    standard = Observed(MACHINE, goal, state, on_disk, None, ProcessStatus.UP, True, 0, 0)
    return replace(standard, **more)  # type: ignore[arg-type]


def begun(what: ReleaseRef, number: int, *, fallback: bool = False) -> Activation:
    return Activation("id", what, DeploymentId(f"d{number}"), Generation(0, number), fallback)


def test_a_release_is_fetched_before_anything_is_stopped() -> None:
    decision = reconcile(seen(goal(B, A), ServiceState(active=running(A)), disk(A)), 0)
    assert decision.fetch is not None
    assert decision.fetch.release == B
    assert decision.activate is None


def test_what_is_up_needs_a_permit_and_what_is_down_does_not() -> None:
    state = ServiceState(active=running(A))
    up = reconcile(seen(goal(B, A), state, disk(A, B)), 0).activate
    down = reconcile(seen(goal(B, A), state, disk(A, B), process=ProcessStatus.DOWN), 0).activate
    assert up is not None
    assert up.needs_permit
    assert down is not None
    assert not down.needs_permit
    assert down.continues(up) is False, "who waits for a permit that is not needed any more stops waiting"


def test_outside_the_wave_the_target_is_fetched_and_nothing_is_activated() -> None:
    decision = reconcile(seen(goal(B, A, threshold=OUT), ServiceState(active=running(A)), disk(A)), 0)
    assert decision.fetch is not None
    assert decision.fetch.release == B
    assert reconcile(seen(goal(B, A, threshold=OUT), ServiceState(active=running(A)), disk(A, B)), 0) == Decision()


def test_what_runs_is_repaired_once_there_is_nothing_else_to_fetch() -> None:
    state = ServiceState(active=running(A))
    repair = reconcile(seen(goal(A, A), state, disk(A), damaged=True), 0).fetch
    assert repair is not None
    assert (repair.release, repair.repair, repair.deployment) == (A, True, None)
    first = reconcile(seen(goal(B, A), state, disk(A), damaged=True), 0).fetch
    assert first is not None
    assert (first.release, first.repair) == (B, False)
    changing = replace(state, activation=begun(B, 1))
    assert reconcile(seen(goal(B, A), changing, disk(A, B), damaged=True), 0).fetch is None


def test_an_empty_machine_takes_the_baseline_first_and_then_fetches_the_target() -> None:
    wanted = goal(B, A, threshold=OUT)
    first = reconcile(seen(wanted, ServiceState(), disk(), started=False), 0)
    assert first.fetch is not None
    assert first.fetch.release == A
    then = reconcile(seen(wanted, ServiceState(), disk(A), started=False), 0)
    assert then.activate is not None
    assert then.activate.release == A
    assert then.fetch is not None
    assert then.fetch.release == B


def test_a_deployment_that_failed_here_is_not_tried_again_but_the_next_one_is() -> None:
    state = ServiceState(active=running(A), failures=(Failure(DeploymentId("d1"), B.root, "sick"),))
    assert reconcile(seen(goal(B, A), state, disk(A, B)), 0).activate is None
    again = reconcile(seen(goal(B, A, number=2), learned(state, goal(B, A, number=2)), disk(A, B)), 0)
    assert again.activate is not None


def test_a_begun_change_over_goes_on_until_something_newer_is_whole_on_disk() -> None:
    state = ServiceState(active=running(A), activation=begun(B, 1))
    waiting = reconcile(seen(goal(C, A, number=2), state, disk(A, B)), 0)
    assert waiting.activate is not None
    assert waiting.activate.release == B
    assert waiting.activate.begun
    assert waiting.fetch is not None
    assert waiting.fetch.release == C
    ready = reconcile(seen(goal(C, A, number=2), state, disk(A, B, C)), 0)
    assert ready.activate is not None
    assert ready.activate.release == C
    assert not ready.activate.needs_permit


def test_a_rollback_during_the_change_over_turns_back_at_once_and_fetches_nothing() -> None:
    state = ServiceState(active=running(A), activation=begun(B, 1))
    decision = reconcile(seen(goal(A, A, number=2), state, disk(A, B)), 0)
    assert decision.activate is not None
    assert decision.activate.release == A
    assert decision.fetch is None


def test_a_change_over_that_waits_for_its_permit_is_dropped_when_nobody_wants_it() -> None:
    assert reconcile(seen(None, ServiceState(active=running(A)), disk(A, B)), 0).activate is None
    assert reconcile(seen(goal(C, A, number=2), ServiceState(active=running(A)), disk(A, B)), 0).activate is None


def test_an_expired_goal_starts_and_stops_nothing() -> None:
    state = ServiceState(active=running(A))
    assert reconcile(seen(goal(B, A), state, disk(A, B)), 1000) == Decision()
    assert reconcile(seen(goal(B, A), state, disk(A)), 1000).fetch is None
    going = reconcile(seen(goal(B, A), state, disk(A), fetching=B), 1000).fetch
    assert going is not None, "a fetch that is under way is not stopped either"
    crashed = reconcile(seen(goal(B, A), state, disk(A, B), process=ProcessStatus.DOWN), 1000)
    assert crashed.restart is not None, "supervision goes on"


def test_a_goal_for_other_machines_is_none_of_ours() -> None:
    elsewhere = replace(goal(B, A), selector=Selector(regions=(RegionName("us"),)))
    assert reconcile(seen(elsewhere, ServiceState(active=running(A)), disk(A)), 0) == Decision()


def test_a_removed_service_is_forgotten_then_stopped_then_cleared_away() -> None:
    tombstone = replace(goal(B, A), removed=True)
    busy = ServiceState(active=running(A), activation=begun(B, 1), previous=C)
    assert reconcile(seen(tombstone, busy, disk(A, B, C), fetching=C), 0) == Decision(forget=True)
    assert reconcile(seen(tombstone, ServiceState(), disk(A, B, C)), 0) == Decision(stop=True), (
        "no permit: it is not coming back"
    )
    last = reconcile(seen(tombstone, ServiceState(), disk(A, B, C), started=False), 0)
    assert last.collect.releases == {A.digest, B.digest, C.digest}
    assert reconcile(seen(tombstone, ServiceState(), disk(), started=False), 0) == Decision()


def test_an_expired_tombstone_ends_what_it_has_begun_and_begins_nothing() -> None:
    tombstone = replace(goal(B, A), removed=True)
    assert reconcile(seen(tombstone, ServiceState(active=running(A)), disk(A)), 1000) == Decision()
    assert reconcile(seen(tombstone, ServiceState(), disk(A)), 1000) == Decision(stop=True)


def test_a_process_that_died_is_started_again_ever_later() -> None:
    state = ServiceState(active=running(A))
    for deaths in range(12):
        crashed = seen(goal(A, A), state, disk(A), process=ProcessStatus.DOWN, deaths=deaths, down_since_ms=50)
        restart = reconcile(crashed, 0).restart
        assert restart is not None
        assert restart.at_ms == 50 + backoff_ms(deaths)
    assert [backoff_ms(deaths) for deaths in (0, 1, 2, 3)] == [0, 1000, 2000, 4000]
    assert backoff_ms(1000) == RESTART_BACKOFF_S_MAX * 1000


def test_what_failed_with_nothing_to_go_back_to_is_stopped() -> None:
    state = failed(ServiceState(activation=begun(A, 1)), begun(A, 1), "sick", "back")
    assert reconcile(seen(goal(A), state, disk(A)), 0) == Decision(stop=True)


def test_the_way_back_begins_with_the_failure_and_ends_healthy_or_not() -> None:
    state = failed(ServiceState(active=running(A), activation=begun(B, 1)), begun(B, 1), "sick", "back")
    decision = reconcile(seen(goal(B, A), state, disk(A, B)), 0)
    assert decision.activate is not None
    assert (decision.activate.release, decision.activate.fallback) == (A, True)
    assert state.activation is not None
    worse = failed(state, state.activation, "sick too", "unused")
    assert worse.active == Active(A, "back", False, "boot", 0)
    assert reconcile(seen(goal(B, A), worse, disk(A, B)), 0).activate is None


def test_nothing_is_collected_while_a_fetch_may_clone_from_it() -> None:
    state = ServiceState(active=running(B))
    old = release("e")
    fetching = seen(goal(C, B), state, disk(B, old), fetching=C)
    assert not reconcile(fetching, 0).collect
    assert reconcile(replace(fetching, fetching=None), 0).collect.releases == {old.digest}


# Any history of goals, crashes and sick releases, on a machine that does what it is told.

RELEASES = [release(name) for name in "abcd"]
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("goal"), st.sampled_from(RELEASES), st.sampled_from([*RELEASES, None]), st.sampled_from([IN, OUT])),
        st.tuples(st.just("fetched"), st.booleans()),
        st.tuples(st.just("health"), st.booleans()),
        st.tuples(st.just("withdrawn"), st.none()),
        st.tuples(st.just("removed"), st.none()),
    ),
    max_size=30,
)


class Model:
    """A machine without time: each event happens to whatever is under way."""

    def __init__(self) -> None:
        self.goal: Goal | None = None
        self.state = ServiceState()
        self.disk = Disk()
        self.fetching: ReleaseRef | None = None
        self.started = False
        self.number = 0
        self.tried: list[tuple[str, str]] = []

    def decide(self) -> Decision:
        process = ProcessStatus.IDLE if self.state.active is None else ProcessStatus.UP
        observed = Observed(MACHINE, self.goal, self.state, self.disk, self.fetching, process, self.started, 0, 0)
        decision = reconcile(observed, 0)
        if decision.forget:
            self.state = ServiceState()
        if decision.stop:
            self.started = False
        self.fetching = decision.fetch.release if decision.fetch else None
        gone = decision.collect
        self.disk = Disk(self.disk.releases - gone.releases, frozenset(), self.disk.roots - gone.roots)
        return decision

    def step(self, event: tuple[object, ...]) -> None:
        kind = event[0]
        if kind == "goal":
            self.number += 1
            self.goal = goal(event[1], event[2], number=self.number, threshold=event[3])  # type: ignore[arg-type]
            self.state = learned(self.state, self.goal)
        elif kind == "withdrawn":
            self.goal = None
        elif kind == "removed" and self.goal is not None:
            self.number += 1
            self.goal = replace(self.goal, removed=True, generation=Generation(0, self.number))
        elif kind == "fetched" and self.fetching is not None:
            got = self.fetching
            self.disk = Disk(self.disk.releases | {got.digest}, frozenset(), self.disk.roots | {got.root})
            self.fetching = None
        elif kind == "health":
            self.finish(bool(event[1]))

    def finish(self, healthy: bool) -> None:
        order = self.decide().activate
        if order is None:
            return
        if not order.begun:
            key = (order.deployment, order.release.root)
            assert key not in self.tried, "tried again for the same deployment"
            self.tried.append(key)
        activation = Activation("id", order.release, order.deployment, order.generation, order.fallback)
        self.started = True
        if healthy:
            self.state = passed(replace(self.state, activation=activation), Active(order.release, "id", True, "boot", 0))
        else:
            self.state = failed(self.state, activation, "sick", "back")

    def check(self) -> None:
        decision = self.decide()
        if decision.activate is not None:
            assert self.disk.has(decision.activate.release), "activates only what is whole on disk"
        if self.goal is not None and self.goal.removed:
            assert (decision.activate, decision.fetch, decision.restart) == (None, None, None)
        elif self.goal is not None:
            here = {item.digest for item in kept(self.goal, self.state)}
            assert not decision.collect.releases & here
        for needed in (self.state.active, self.state.activation):
            if needed is not None:
                assert self.disk.has(needed.release), "what runs, and the way back, is on disk"


@settings(max_examples=200, deadline=None)
@given(EVENTS)
def test_whatever_happens_only_whole_releases_run_and_the_last_goal_is_reached(events: list[tuple[object, ...]]) -> None:
    model = Model()
    for event in events:
        model.step(event)
        model.check()
    model.step(("goal", A, A, IN))
    for _ in range(6):
        model.check()
        model.step(("fetched", True))
        model.step(("health", True))
    assert model.state.active is not None
    assert (model.state.active.release, model.state.active.passed) == (A, True)
    assert model.decide() == Decision()


@settings(max_examples=200, deadline=None)
@given(EVENTS)
def test_whatever_happened_before_a_removed_service_is_gone_in_the_end(events: list[tuple[object, ...]]) -> None:
    model = Model()
    for event in [*events, ("goal", A, A, IN), ("removed", None)]:
        model.step(event)
        model.check()
    for _ in range(3):
        model.check()
    assert (model.state, model.started, model.disk.releases) == (ServiceState(), False, frozenset())
    assert model.decide() == Decision()
