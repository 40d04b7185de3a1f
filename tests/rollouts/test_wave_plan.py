"""What a policy comes to for a fleet, and what is wrong with one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.check import Check
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import Unprocessable
from fleetcast.model.goal import activation_hash
from fleetcast.model.ids import DeploymentId, MachineId, RegionName
from fleetcast.model.limits import BAKE_S_MAX, CHECK_WAIT_S_MAX, DISTRIBUTE_S_MAX, STAGES_MAX
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.plan import Plan, Policy, Preset, Stage
from fleetcast.rollouts.cohorts import Alike
from fleetcast.rollouts.plan_lint import must_be_legal, problems, remarks
from fleetcast.rollouts.wave_plan import Usual, bound_s, draw_up, left_s, outline, timetable

USUAL = Usual(first_wave_s=900, wave_s=60)

regions = st.sampled_from([RegionName(name) for name in ("ap", "eu", "us")])
stages = st.builds(
    Stage,
    st.sampled_from(["", "first"]),
    regions=st.lists(regions, unique=True, max_size=2).map(tuple),
    zones=st.lists(st.sampled_from(["a", "b"]), unique=True, max_size=1).map(tuple),
    percent=st.none() | st.integers(1, 100),
    by_region=st.booleans(),
    bake_s=st.integers(0, 900),
)
policies = st.builds(
    Policy,
    st.sampled_from(Preset),
    st.lists(stages, max_size=4).map(tuple),
    st.integers(1, 4),
    st.lists(regions, unique=True, max_size=3).map(tuple),
)


def _fleet(**counts: int) -> tuple[Alike, ...]:
    """So many machines a region, in two zones."""
    found = []
    for region, count in counts.items():
        for zone in ("a", "b"):
            many = count // 2 if zone == "a" else count - count // 2
            hashes = sorted(activation_hash(DeploymentId("d"), MachineId(f"{region}-{zone}-{n}")) for n in range(many))
            found.append(Alike(Machine(MachineId(""), RegionName(region), zone), hashes))
    return tuple(found)


def _told(plan: Plan) -> list[str]:
    return [f"{wave.name}: {dict(wave.machines)} {wave.bake_s}" for wave in plan.waves]


@given(policies, st.tuples(*[st.integers(0, 30)] * 3))
def test_whatever_the_policy_everybody_comes_to_it_once(policy: Policy, counts: tuple[int, int, int]) -> None:
    plan = draw_up(policy, _fleet(ap=counts[0], eu=counts[1], us=counts[2]))
    there = {RegionName(name) for name, count in zip(("ap", "eu", "us"), counts, strict=True) if count}
    assert [replace(wave, machines={}) for wave in plan.waves] == list(outline(policy, there).waves)
    assert plan.waves[-1].everyone
    assert plan.waves[-1].selector == Selector()
    assert sum(sum(wave.machines.values()) for wave in plan.waves) == sum(counts)
    assert all(wave.name and wave.reason for wave in plan.waves)


@given(policies, st.integers(0, 5000), st.integers(0, 5000), st.data())
def test_the_time_that_is_left_shrinks_from_state_to_state_and_wave_to_wave(
    policy: Policy, gone_s: int, more_s: int, data: st.DataObject
) -> None:
    plan = draw_up(policy, _fleet(ap=5, eu=10, us=7))

    def left(state: DeploymentState, number: int, gone_s: int) -> float:
        return left_s(state, plan, number, gone_s, replicate_s_max=900, wave_s_max=1800)

    whole = bound_s(plan, 1800)
    assert left(DeploymentState.BUILDING, 0, gone_s) == 900 + whole
    assert 900 + whole >= left(DeploymentState.REPLICATING, 0, gone_s) >= left(DeploymentState.REPLICATING, 0, gone_s + more_s)
    assert left(DeploymentState.REPLICATING, 0, gone_s) >= whole == left(DeploymentState.DISTRIBUTING, 0, 0)
    number = data.draw(st.integers(0, len(plan.waves) - 1))
    now = left(DeploymentState.DISTRIBUTING, number, gone_s)
    assert now >= left(DeploymentState.DISTRIBUTING, number, gone_s + more_s) >= 0
    if number + 1 < len(plan.waves):
        assert now >= left(DeploymentState.DISTRIBUTING, number + 1, 0)


@pytest.mark.parametrize("preset", Preset)
def test_presets_are_legal(preset: Preset) -> None:
    assert problems(Policy(preset)) == []
    assert problems(Policy(stages=Policy(preset).all_stages)) == []


def test_the_default_meets_the_budget_and_the_canary_does() -> None:
    for preset in (Preset.ALL_AT_ONCE, Preset.CANARY):
        plan = draw_up(Policy(preset), _fleet(eu=40, us=20))
        assert timetable(plan, USUAL)[-1].passes_s <= DISTRIBUTE_S_MAX
        assert remarks(Policy(preset), plan, timetable(plan, USUAL), {RegionName("eu"), RegionName("us")}) == []


def test_the_presets_for_a_fleet() -> None:
    fleet = _fleet(ap=10, eu=40, us=50)
    assert _told(draw_up(Policy(), fleet)) == ["everyone: {'ap': 10, 'eu': 40, 'us': 50} 0"]
    canary = draw_up(Policy(Preset.CANARY), fleet)
    assert [(wave.name, sum(wave.machines.values()), wave.bake_s) for wave in canary.waves] == [
        ("canary", 1, 300),
        ("everyone", 99, 0),
    ]
    ordered = Policy(Preset.REGION_BY_REGION, regions_at_once=2, region_order=(RegionName("us"),))
    assert _told(draw_up(ordered, fleet)) == ["us ap: {'ap': 10, 'us': 50} 120", "eu: {'eu': 40} 120"]
    cautious = draw_up(Policy(Preset.CAUTIOUS), fleet)
    assert [(wave.name, sum(wave.machines.values())) for wave in cautious.waves][:2] == [("canary", 1), ("a tenth", 9)]
    assert [wave.name for wave in cautious.waves][2:] == ["ap", "eu", "us"]
    assert cautious.waves[4].selector == Selector(), "the last one lets in what joins meanwhile, wherever"
    assert bound_s(cautious, 1800) == 5 * 1800 + 5 * 600
    checked = draw_up(Policy(stages=(Stage("half", percent=50, checks=(Check("up", url="http://127.0.0.1/"),)),)), fleet)
    assert bound_s(checked, 1800) == 2 * 1800 + CHECK_WAIT_S_MAX


def test_what_no_stage_means_comes_last() -> None:
    plan = draw_up(Policy(stages=(Stage("eu first", regions=(RegionName("eu"),), count=3),)), _fleet(eu=10, us=5))
    assert _told(plan) == ["eu first: {'eu': 3} 0", "everyone else: {'eu': 7, 'us': 5} 0"]


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Policy(regions_at_once=0), "regions_at_once is 0: say 1 to 100"),
        (Policy(failed_percent=100), "failed_percent is 100: say 0 to 99"),
        (Policy(region_order=(RegionName("eu"), RegionName("eu"))), "region_order names a region twice: name each once"),
        (Policy(stages=(Stage(percent=5, count=3),)), "stage 1: it has a percent and a count: say one of them"),
        (Policy(stages=(Stage(percent=101),)), "stage 1: percent is 101: say 1 to 100"),
        (Policy(stages=(Stage(bake_s=BAKE_S_MAX + 1),)), "stage 1: bake_s is 86401: say 0 to 86400"),
        (Policy(stages=(Stage(name="a\nb"),)), "stage 1: its name has to be printable, and at most 63 characters long"),
        (
            Policy(stages=(Stage(), Stage(percent=5))),
            "stage 2: an earlier stage lets everybody in: nobody is left for this one",
        ),
        (Policy(stages=(Stage(),) * (STAGES_MAX + 1)), "21 stages are too many: a plan has at most 20"),
        (
            Policy(stages=(Stage(percent=10), Stage(percent=10))),
            "stage 2: it adds nobody to stage 1, which takes as many of the same machines: raise it, or leave it out",
        ),
    ],
)
def test_what_cannot_be_taken_is_told_in_a_line(policy: Policy, said: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        must_be_legal(policy)
    assert refused.value.message == f"the plan cannot be taken: {said}"
    assert "\n" not in said


def test_what_a_person_should_know_before() -> None:
    policy = Policy(
        stages=(Stage("canary", regions=(RegionName("mars"),)), Stage("half", percent=50, bake_s=3600)),
        region_order=(RegionName("venus"),),
    )
    plan = draw_up(policy, _fleet(eu=10))
    assert remarks(policy, plan, timetable(plan, USUAL), {RegionName("eu")}) == [
        "it names region venus, which is not there",
        "it names region mars, which is not there",
        "wave canary adds no machine",
        "it takes about 1 h, more than the 30 min in which a release should be everywhere",
    ]
    one = Policy(Preset.CANARY)
    plan = draw_up(one, _fleet(eu=1))
    assert "all of the 1 machines" in remarks(one, plan, timetable(plan, USUAL), {RegionName("eu")})[0]
