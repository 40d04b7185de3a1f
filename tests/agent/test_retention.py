"""Law 5: which releases stay."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.agent.retention import Held, KeepMore, Spare, kept, learned, surplus
from fleetcast.agent.state import Active, Failure, ServiceState
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, Limits, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, ServiceName
from fleetcast.model.limits import RELEASES_SUCCEEDED_KEPT
from fleetcast.model.machine import Selector


def release(name: str) -> ReleaseRef:
    return ReleaseRef(ArtifactName(f"web/{name}"), Digest(name * 64), Digest(name.upper() * 64))


def goal(target: str, baseline: str | None = None) -> Goal:
    return Goal(
        service=ServiceName("web"),
        environment="production",
        generation=Generation(0, 1),
        deployment=DeploymentId("d-" + target),
        rollback=False,
        selector=Selector(),
        target=release(target),
        baseline=release(baseline) if baseline else None,
        cohorts=(),
        limits=Limits(),
        expires_at_ms=0,
    )


def active(name: str) -> Active:
    return Active(release(name), "activation", True, "boot", 0)


NAMES = st.sampled_from("abcdef")
SOME = st.one_of(st.none(), NAMES)


@given(NAMES, SOME, SOME, SOME, st.lists(NAMES, unique=True), st.sets(NAMES))
def test_nothing_that_is_needed_goes_and_nothing_else_stays(
    target: str, baseline: str | None, running: str | None, previous: str | None, succeeded: list[str], disk: set[str]
) -> None:
    wanted = goal(target, baseline)
    state = ServiceState(
        active=active(running) if running else None,
        previous=release(previous) if previous else None,
        succeeded=tuple(release(name) for name in succeeded),
    )
    on_disk = frozenset(release(name).digest for name in disk)
    roots = frozenset(release(name).root for name in disk)
    going = surplus(wanted, state, on_disk, on_disk, roots)

    needed = {name for name in (target, baseline, running, previous) if name}
    beside = [name for name in succeeded if name not in needed][:RELEASES_SUCCEEDED_KEPT]
    staying = {release(name).digest for name in {*needed, *beside}}
    assert going.releases == on_disk - staying
    assert going.incoming == on_disk - {release(name).digest for name in (target, baseline) if name}
    assert {root.lower() for root in going.roots} == going.releases


DAY_MS = 24 * 3600 * 1000
NOW_MS = 100 * DAY_MS


@st.composite
def spares(draw: st.DrawFn) -> Spare:
    keep = KeepMore(draw(st.integers(0, 6)), draw(st.integers(0, 10)), draw(st.integers(0, 60)))
    held = {
        release(name).digest: Held(
            draw(st.integers(1, 20)), NOW_MS - draw(st.integers(-1, 12)) * DAY_MS, frozenset({release(name).root})
        )
        for name in "abcdef"
    }
    return Spare(keep, held, NOW_MS, draw(st.integers(-5, 80)))


@given(NAMES, SOME, SOME, st.sets(NAMES), st.sets(NAMES, max_size=2), spares())
def test_of_what_nobody_needs_the_newest_stay_within_every_bound(
    target: str, baseline: str | None, previous: str | None, disk: set[str], pinned: set[str], spare: Spare
) -> None:
    wanted = replace(goal(target, baseline), pinned=tuple(release(name).digest for name in sorted(pinned)))
    state = ServiceState(previous=release(previous) if previous else None)
    on_disk = frozenset(release(name).digest for name in disk)
    roots = frozenset(release(name).root for name in disk)
    going = surplus(wanted, state, on_disk, [], roots, spare)

    needed = {release(name).digest for name in (target, baseline, previous, *pinned) if name} & on_disk
    assert not going.releases & needed
    assert {Digest(root.lower()) for root in going.roots} == going.releases, "a release and what names it go together"
    more = on_disk - needed - going.releases
    assert len(more) <= spare.keep.releases
    assert sum(spare.held[digest].bytes for digest in more) <= spare.keep.bytes
    assert all(NOW_MS - spare.held[digest].since_ms <= spare.keep.days * DAY_MS for digest in more)
    oldest_kept = min((spare.held[digest].since_ms for digest in more), default=NOW_MS + 2 * DAY_MS)
    assert all(spare.held[digest].since_ms <= oldest_kept for digest in going.releases), "the oldest go first"
    freed = sum(spare.held[digest].bytes for digest in going.releases)
    assert not more or freed >= spare.short_bytes, "while the disk is short, nothing stays that nobody needs"


def test_nothing_more_goes_than_makes_room_enough() -> None:
    held = {release(name).digest: Held(10, NOW_MS - age * DAY_MS) for age, name in enumerate("bcde")}
    on_disk = [release(name).digest for name in "abcde"]

    def gone(short_bytes: int) -> str:
        spare = Spare(KeepMore(4, 30, 100), held, NOW_MS, short_bytes)
        return "".join(sorted(digest[0] for digest in surplus(goal("a"), ServiceState(), on_disk, [], [], spare).releases))

    assert [gone(0), gone(1), gone(10), gone(11), gone(40), gone(1000)] == ["", "e", "e", "de", "bcde", "bcde"]


def test_two_roots_of_one_release_keep_it_once() -> None:
    first = ReleaseRef(ArtifactName("web/1"), Digest("a" * 64), Digest("1" * 64))
    second = ReleaseRef(ArtifactName("web/2"), Digest("a" * 64), Digest("2" * 64))
    state = ServiceState(active=Active(second, "", True, "", 0), previous=first)
    assert surplus(goal("b"), state, [first.digest], [], [first.root, second.root]) == surplus(goal("b"), state, [], [], [])


@given(st.lists(NAMES))
def test_the_history_holds_the_newest_successes_each_once(baselines: list[str]) -> None:
    state = ServiceState()
    for name in baselines:
        state = learned(state, goal("a", name))
    newest_first = list(dict.fromkeys(reversed(baselines)))
    assert [item.artifact[-1] for item in state.succeeded] == newest_first


def test_after_a_rollback_the_success_before_is_still_there() -> None:
    state = ServiceState()
    for name in "abc":
        state = learned(state, goal(name, name))
    state = learned(ServiceState(active=active("b"), previous=release("c"), succeeded=state.succeeded), goal("b", "b"))
    assert [item.artifact for item in kept(goal("b", "b"), state)] == ["web/b", "web/c", "web/a"]


def test_failures_of_earlier_deployments_are_forgotten() -> None:
    old = Failure(DeploymentId("d-a"), release("a").root, "x")
    new = Failure(DeploymentId("d-b"), release("b").root, "y")
    assert learned(ServiceState(failures=(old, new)), goal("b")).failures == (new,)


def test_what_failed_is_forgotten_once_when_it_is_to_be_tried_again() -> None:
    failure = Failure(DeploymentId("d-b"), release("b").root, "x")
    again = replace(goal("b"), again=Generation(0, 7))
    forgot = learned(ServiceState(failures=(failure,)), again)
    assert forgot.failures == ()
    assert learned(replace(forgot, failures=(failure,)), again).failures == (failure,), "what fails after that stays so"
    later = replace(again, again=Generation(0, 9))
    assert learned(replace(forgot, failures=(failure,)), later).failures == ()
