"""What is collected: protected releases never, the rest by age, count and bytes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import ArtifactName, Digest, ServiceName
from fleetcast.model.limits import RELEASES_SUCCEEDED_KEPT
from fleetcast.retention.collection import Bounds, Held, judge
from fleetcast.retention.planning import Policy, Stored, plan
from fleetcast.retention.protection import Standing, Wanted, protections

DAY_MS = 86_400_000
NOW = 1000 * DAY_MS
SERVICES = st.sampled_from([ServiceName("api"), ServiceName("web")])
ANY = Bounds(days=1e9, per_service=10**9, bytes=0, grace_s=0)
HELD = st.lists(
    st.builds(
        Held,
        digest=st.integers(0, 10**6).map(lambda number: Digest(f"{number:064x}")),
        services=st.frozensets(SERVICES, min_size=1),
        size=st.integers(0, 100),
        used_at_ms=st.integers(NOW - 100 * DAY_MS, NOW + DAY_MS),
        protection=st.sampled_from(["", "", "it is pinned"]),
    ),
    max_size=12,
    unique_by=lambda held: held.digest,
)
BOUNDS = st.builds(
    Bounds,
    days=st.floats(0, 100),
    per_service=st.integers(0, 5),
    bytes=st.integers(0, 500),
    grace_s=st.sampled_from([0.0, 3600.0, 30 * 86_400.0]),
)


def held(name: str, days_ago: float, size: int = 1, service: str = "web", protection: str = "") -> Held:
    return Held(Digest(name * 64), frozenset({ServiceName(service)}), size, NOW - int(days_ago * DAY_MS), protection)


def going(several: list[Held], bounds: Bounds) -> dict[str, str]:
    """Why each that goes does, by its letter."""
    return {verdict.held.digest[0]: verdict.reason for verdict in judge(several, bounds, NOW) if verdict.collect}


@given(HELD, BOUNDS)
def test_what_is_protected_or_young_stays_whatever_the_bounds_are(several: list[Held], bounds: Bounds) -> None:
    for verdict in judge(several, bounds, NOW):
        young = NOW - verdict.held.used_at_ms < bounds.grace_s * 1000
        assert not (verdict.collect and (verdict.held.protection or young))
        if verdict.held.protection:
            assert verdict.reason == verdict.held.protection
        assert verdict.reason


@given(HELD, BOUNDS, st.randoms())
def test_the_order_in_which_artifacts_are_told_decides_nothing(several: list[Held], bounds: Bounds, rng: object) -> None:
    shuffled = list(several)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a Random

    assert judge(shuffled, bounds, NOW) == judge(several, bounds, NOW)
    assert len(judge(several, bounds, NOW)) == len(several)


@given(HELD, BOUNDS)
def test_bounds_are_kept_where_what_may_go_allows_it(several: list[Held], bounds: Bounds) -> None:
    verdicts = judge(several, bounds, NOW)
    staying = [verdict.held for verdict in verdicts if not verdict.collect]
    free = [one for one in staying if not one.protection and NOW - one.used_at_ms >= bounds.grace_s * 1000]

    if bounds.bytes and free:
        assert sum(one.size for one in staying) <= bounds.bytes
    for service in ("api", "web"):
        only_its_own = [one for one in free if one.services == {service}]
        assert len(only_its_own) <= bounds.per_service
    assert all(NOW - one.used_at_ms <= bounds.days * DAY_MS for one in free)


@given(HELD, BOUNDS)
def test_nothing_goes_before_something_of_its_services_that_was_used_longer_ago(several: list[Held], bounds: Bounds) -> None:
    """Of one service, with equal sizes: what goes is a tail."""
    alike = [replace(one, services=frozenset({ServiceName("web")}), size=1, protection="") for one in several]
    collected = [verdict.collect for verdict in judge(alike, bounds, NOW)]

    assert collected == sorted(collected)


@given(HELD, BOUNDS)
def test_what_is_collected_leaves_nothing_that_the_next_turn_would_collect(several: list[Held], bounds: Bounds) -> None:
    staying = [verdict.held for verdict in judge(several, bounds, NOW) if not verdict.collect]

    assert not any(verdict.collect for verdict in judge(staying, bounds, NOW))


def test_age_count_and_bytes_each_have_their_reason() -> None:
    several = [held("a", 1), held("b", 2), held("c", 10), held("d", 3, service="api")]

    assert going(several, replace(ANY, days=5)) == {"c": "it was not used for 10 days, more than 5 days"}
    assert going(several, replace(ANY, per_service=1)) == dict.fromkeys("bc", "more than 1 of web are there that nobody needs")
    assert going(several, replace(ANY, bytes=2)) == {
        "c": "all together are 4 bytes, more than 2",
        "d": "all together are 3 bytes, more than 2",
    }
    assert going(several, ANY) == {}


def test_protected_ones_do_not_count_among_those_that_stay() -> None:
    several = [held("a", 1, protection="it is pinned"), held("b", 2), held("c", 3)]

    assert set(going(several, replace(ANY, per_service=1))) == {"c"}


def test_what_two_services_have_goes_when_neither_keeps_it() -> None:
    both = replace(held("a", 9), services=frozenset({ServiceName("api"), ServiceName("web")}))
    newer = held("b", 1)

    assert going([both, newer], replace(ANY, per_service=1)) == {}
    assert set(going([both, newer, held("c", 2, service="api")], replace(ANY, per_service=1))) == {"a"}


# The two tiers


def of(several: list[Held], published: str) -> list[Stored]:
    return [Stored(one, (ArtifactName(f"web/{one.digest}"),), one.digest[0] in published) for one in several]


def test_regions_give_up_sooner_and_the_main_store_keeps_what_they_have() -> None:
    several = of([held("a", 1), held("b", 5), held("c", 50)], published="ab")
    planned = {
        each.stored.held.digest[0]: each
        for each in plan(several, Policy(main=replace(ANY, days=0.5), regions=replace(ANY, days=2)), NOW)
    }

    assert planned["a"].main.reason == "the regions keep it: it was used 1 day ago"
    assert (planned["a"].main.collect, planned["a"].goes) == (False, False)
    assert (planned["b"].main.collect, planned["b"].regions is not None and planned["b"].regions.collect) == (True, True)
    assert (planned["c"].main.collect, planned["c"].regions) == (True, None)


@given(HELD, BOUNDS, BOUNDS, st.sets(st.integers(0, 11)))
def test_no_region_keeps_what_the_main_store_gives_up(
    several: list[Held], main: Bounds, regions: Bounds, published: set[int]
) -> None:
    stored = [Stored(one, (ArtifactName("web/a"),), number in published) for number, one in enumerate(several)]
    for planned in plan(stored, Policy(main, regions), NOW):
        assert planned.regions is None or planned.regions.collect or not planned.main.collect
        assert (planned.regions is None) is not planned.stored.published


# Whom law 5 protects


def release(name: str) -> ReleaseRef:
    return ReleaseRef(ArtifactName(f"web/{name}"), Digest(name * 64), Digest(name * 64))


NAMES = st.sampled_from("abcdefgh")
SOME = st.none() | NAMES.map(release)
HISTORY = st.lists(NAMES.map(release), unique=True).map(tuple)


@given(st.builds(Standing, st.just(ServiceName("web")), st.just("prod"), NAMES.map(release), SOME, SOME, HISTORY, HISTORY))
def test_goal_baseline_previous_and_the_last_that_succeeded_are_protected(standing: Standing) -> None:
    found = protections([standing], [])
    named = [one for one in (standing.target, standing.baseline, standing.previous) if one is not None]

    assert {one.digest for one in named} <= found.keys()
    for history in (standing.succeeded, standing.not_rolled_back):
        beside = [one for one in history if one not in named]
        assert {one.digest for one in beside[:RELEASES_SUCCEEDED_KEPT]} <= found.keys()
    assert len(found) <= len(named) + 2 * RELEASES_SUCCEEDED_KEPT


def test_the_first_reason_is_the_one_that_is_told() -> None:
    standing = Standing(ServiceName("web"), "prod", release("a"), release("a"), release("b"), (release("c"),), ())
    found = protections([standing], [Wanted(release("b").digest, "it is pinned")])

    assert found == {
        release("a").digest: "it is the goal of web in prod",
        release("b").digest: "it is pinned",
        release("c").digest: "it is one of the last that succeeded for web in prod",
    }
