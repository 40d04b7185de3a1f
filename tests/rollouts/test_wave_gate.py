"""Whether a wave may be followed by the next."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.generation import Generation
from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.limits import PAUSE_S_MAX
from fleetcast.model.machine import Selector
from fleetcast.model.plan import Plan, Wave
from fleetcast.model.report import CohortCounts, NamedFailure
from fleetcast.rollouts.wave_gate import Judgement, RegionWave, Verdict, WaveFacts, judge

WAVE_S_MAX = 100.0
BAKE_S = 60


def _plan(failed_percent: int = 5, unreachable_percent: int = 5, bake_s: int = BAKE_S) -> Plan:
    waves = tuple(Wave(name, Selector(), None, None, bake_s, "why") for name in ("one", "two"))
    return Plan("p", waves, failed_percent, unreachable_percent)


def _counts(
    inside: int, active: int = 0, failed: int = 0, flapping: int = 0, silent: int = 0, *, gathering: bool = False
) -> CohortCounts:
    return CohortCounts(Generation(0, 1), inside, active, failed, flapping, silent, gathering)


def _region(name: str, expected: int, told: CohortCounts | None, *failures: str) -> RegionWave:
    return RegionWave(RegionName(name), expected, told, 0, tuple(NamedFailure(MachineId(one), "sick") for one in failures))


def _wave(*regions: RegionWave, healthy_at_ms: int | None = None, number: int = 0, fleet: int = 0) -> WaveFacts:
    return WaveFacts(_plan(), number, 0, healthy_at_ms, promoted=False, paused_at_ms=None, fleet=fleet, regions=regions)


counts = st.integers(0, 6)
told = st.builds(
    lambda active, failed, flapping, silent, rest, gathering: _counts(
        active + failed + flapping + silent + rest, active, failed, flapping, silent, gathering=gathering
    ),
    *[counts] * 5,
    st.booleans(),
)
regions = st.builds(RegionWave, st.sampled_from("abc").map(RegionName), st.integers(0, 12), st.none() | told, st.integers(0, 4))
facts = st.builds(
    WaveFacts,
    st.builds(_plan, st.integers(0, 99), st.integers(0, 99), st.integers(0, 120)),
    number=st.integers(0, 1),
    wave_at_ms=st.integers(0, 50_000),
    healthy_at_ms=st.none() | st.integers(0, 200_000),
    promoted=st.booleans(),
    paused_at_ms=st.none() | st.integers(0, 200_000),
    fleet=st.integers(0, 60),
    regions=st.lists(regions, max_size=3, unique_by=lambda region: region.region).map(tuple),
)
times = st.integers(0, 400_000)


def _judge(wave: WaveFacts, now_s: float) -> tuple[Verdict, str]:
    judged = judge(wave, WAVE_S_MAX, int(now_s * 1000))
    return judged.verdict, judged.reason


@given(facts, times)
def test_it_never_advances_on_what_was_not_said(wave: WaveFacts, now_ms: int) -> None:
    if judge(wave, WAVE_S_MAX, now_ms).verdict is Verdict.ADVANCE:
        assert all(region.told is not None for region in wave.regions if region.expected)
        begun = [region for region in wave.regions if region.told is not None and region.told.gathering]
        assert all(region.healthy + region.sick >= max(region.expected, region.told.inside) for region in begun if region.told)


@given(facts, times)
def test_it_advances_on_health_within_the_budgets_and_no_sooner_than_baked(wave: WaveFacts, now_ms: int) -> None:
    judged = judge(wave, WAVE_S_MAX, now_ms)
    if judged.verdict is not Verdict.ADVANCE:
        return
    total = sum(region.total for region in wave.regions)
    healthy, unreachable = (sum(getattr(region, what) for region in wave.regions) for what in ("healthy", "unreachable"))
    lost = sum(max(0, region.unreachable - region.mute) for region in wave.regions)
    assert lost * 100 <= total * wave.plan.unreachable_percent
    assert unreachable * 100 <= max(total, wave.fleet) * wave.plan.unreachable_percent
    assert (total - healthy - unreachable) * 100 <= total * wave.plan.failed_percent
    assert healthy or (total == 0 and not wave.last)
    assert judged.healthy_at_ms is not None
    bake_ms = 0 if wave.promoted or not total else wave.plan.waves[wave.number].bake_s * 1000
    assert now_ms - judged.healthy_at_ms >= bake_ms


@given(facts, times)
def test_only_what_failed_brings_it_back(wave: WaveFacts, now_ms: int) -> None:
    well = [replace(region, told=region.told and replace(region.told, failed=0, flapping=0)) for region in wave.regions]
    assert judge(replace(wave, regions=tuple(well)), WAVE_S_MAX, now_ms).verdict is not Verdict.ROLL_BACK


@given(facts)
def test_every_wave_ends(wave: WaveFacts) -> None:
    assert judge(wave, WAVE_S_MAX, (PAUSE_S_MAX + 10_000) * 1000).verdict is not Verdict.HOLD


@given(facts, times, times)
def test_a_look_more_changes_nothing(wave: WaveFacts, now_ms: int, more_ms: int) -> None:
    """What is remembered of one look makes no other decision at the next."""
    first = judge(wave, WAVE_S_MAX, now_ms)
    remembered = replace(wave, healthy_at_ms=first.healthy_at_ms)
    assert judge(remembered, WAVE_S_MAX, now_ms) == first
    later = judge(remembered, WAVE_S_MAX, now_ms + more_ms)
    if first.verdict in (Verdict.ROLL_BACK, Verdict.STOP):
        assert later.verdict is not Verdict.HOLD


def test_the_bake_begins_when_everybody_is_healthy_and_begins_anew_when_somebody_is_not() -> None:
    well, down = _wave(_region("eu", 40, _counts(40, 40))), _wave(_region("eu", 40, _counts(40, 39)))
    first = judge(well, WAVE_S_MAX, 10_000)
    assert first == Judgement(
        Verdict.HOLD, "wave 1 of 2 (one): 40 of 40 healthy; bakes until 00:01:10 UTC", healthy_at_ms=10_000
    )
    assert _judge(replace(well, healthy_at_ms=10_000), 69)[0] is Verdict.HOLD
    assert _judge(replace(well, healthy_at_ms=10_000), 70) == (
        Verdict.ADVANCE,
        "wave 1 of 2 (one) passed: 40 of 40 healthy, baked 1 min",
    )
    assert judge(replace(down, healthy_at_ms=10_000), WAVE_S_MAX, 69_000) == Judgement(
        Verdict.HOLD, "wave 1 of 2 (one): waiting for eu: 39 of 40 healthy"
    )


def test_promoted_it_does_not_bake_but_is_healthy_all_the_same() -> None:
    assert _judge(replace(_wave(_region("eu", 2, _counts(2, 2))), promoted=True), 1)[0] is Verdict.ADVANCE
    assert _judge(replace(_wave(_region("eu", 2, _counts(2, 1))), promoted=True), 1)[0] is Verdict.HOLD


def test_of_few_machines_none_may_fail() -> None:
    canary = _wave(_region("eu", 2, _counts(2, 1, failed=1), "m1"), _region("us", 1, _counts(1)))
    assert _judge(canary, 1) == (
        Verdict.ROLL_BACK,
        "wave 1 of 2 (one): 1 of 3 machines failed, none may: m1: sick",
    )


def test_one_machine_of_a_small_region_stops_nobody_and_two_do() -> None:
    large, small = _region("eu", 100, _counts(100, 100)), _region("us", 8, _counts(8, 7, failed=1), "u1")
    assert _judge(_wave(large, small), 1)[0] is Verdict.HOLD
    sick = _region("us", 8, _counts(8, 6, failed=1, flapping=1), "u1", "u2")
    assert _judge(_wave(large, sick), 1) == (
        Verdict.ROLL_BACK,
        "wave 1 of 2 (one): 2 of 8 machines failed in us, at most 1 may: u1, u2: sick",
    )


def test_the_unreachable_have_a_budget_of_their_own() -> None:
    within = _wave(_region("eu", 100, _counts(98, 95, silent=3)))
    assert _judge(within, 1) == (
        Verdict.HOLD,
        "wave 1 of 2 (one): 95 of 100 healthy, 5 unreachable; bakes until 00:01:01 UTC",
    )
    beyond = _wave(_region("eu", 100, _counts(98, 94, silent=4)))
    assert _judge(beyond, 1) == (
        Verdict.HOLD,
        "wave 1 of 2 (one): waiting for machines that say nothing: 6 of 100 are unreachable, at most 5 may be",
    )
    assert _judge(beyond, 161) == (
        Verdict.STOP,
        "wave 1 of 2 (one): not healthy within 1 min and 1 min of bake: eu: 94 of 100 healthy, 6 unreachable",
    )


def test_whom_a_region_has_not_heard_of_that_has_just_started_is_waited_for_within_the_budget_too() -> None:
    said = "eu: 98 of 100 healthy (its process has just started: the others may be on their way to it)"
    started = _wave(_region("eu", 100, _counts(99, 98, silent=1, gathering=True)))
    assert _judge(started, 1) == (Verdict.HOLD, f"wave 1 of 2 (one): waiting for {said}")
    assert _judge(_wave(_region("eu", 100, _counts(100, 100, gathering=True))), 1)[1].endswith("bakes until 00:01:01 UTC")
    assert _judge(_wave(_region("eu", 100, _counts(99, 98, silent=1))), 1)[1].startswith(
        "wave 1 of 2 (one): 98 of 100 healthy, 2 unreachable; bakes until"
    )


def test_what_was_silent_before_a_wave_is_held_against_the_whole_fleet_and_not_against_the_wave() -> None:
    off = replace(_region("eu", 4, _counts(4, 3, silent=1)), mute=1)
    assert _judge(_wave(off, fleet=100), 1)[1].startswith("wave 1 of 2 (one): 3 of 4 healthy, 1 unreachable; bakes until")
    assert _judge(_wave(off, fleet=10), 1) == (
        Verdict.HOLD,
        "wave 1 of 2 (one): waiting for machines that say nothing: 1 of 10 are unreachable, none may be",
    )
    lost = replace(_region("eu", 4, _counts(4, 2, silent=2)), mute=1)
    assert _judge(_wave(lost, fleet=100), 1) == (
        Verdict.HOLD,
        "wave 1 of 2 (one): waiting for machines that say nothing: 1 of 4 are unreachable, none may be",
    )


def test_a_region_that_says_nothing_is_waited_for_and_then_it_stops() -> None:
    away = _wave(_region("eu", 2, _counts(2, 2)), _region("us", 5, None))
    assert _judge(away, 1) == (Verdict.HOLD, "wave 1 of 2 (one): waiting for a report of us")
    assert _judge(away, 161) == (
        Verdict.STOP,
        "wave 1 of 2 (one): not healthy within 1 min and 1 min of bake: it waited for a report of us",
    )


def test_a_region_that_does_not_count_by_waves_is_named_as_such_and_ends_it_in_time() -> None:
    old = _wave(_region("eu", 2, _counts(2, 2)), replace(_region("us", 5, None), old=True))
    said = "us to count by waves: the region process there is of an older version, upgrade it"
    assert _judge(old, 1) == (Verdict.HOLD, f"wave 1 of 2 (one): waiting for {said}")
    assert _judge(old, 161) == (
        Verdict.STOP,
        f"wave 1 of 2 (one): not healthy within 1 min and 1 min of bake: it waited for {said}",
    )


def test_paused_it_waits_for_a_person_and_not_for_ever() -> None:
    well = replace(_wave(_region("eu", 2, _counts(2, 2)), healthy_at_ms=0), paused_at_ms=1000)
    assert _judge(well, 3600) == (Verdict.HOLD, "wave 1 of 2 (one): 2 of 2 healthy, baked 1 min; paused")
    assert _judge(replace(well, number=1), 3600)[0] is Verdict.ADVANCE, "nobody is left to be held back"
    sick = replace(well, regions=(_region("eu", 2, _counts(2, 0, failed=2)),))
    assert _judge(sick, 3600)[0] is Verdict.ROLL_BACK
    assert _judge(well, PAUSE_S_MAX + 2) == (
        Verdict.STOP,
        "wave 1 of 2 (one): paused for 1 day, and nobody resumed it",
    )
