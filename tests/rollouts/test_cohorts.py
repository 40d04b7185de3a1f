"""Whom a wave lets in: never nobody, never somebody out again, and by the rule that the documentation gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.goal import EVERYONE, Cohort, activation_hash, threshold_for
from fleetcast.model.ids import DeploymentId, MachineId, RegionName
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.plan import Plan, Wave
from fleetcast.rollouts.cohorts import Alike, grown, inside, let_in, open_next, shut_out

D = DeploymentId("5e1f0c2ab3d49a77")

selectors = st.builds(
    Selector,
    regions=st.lists(st.sampled_from([RegionName("eu"), RegionName("us")]), unique=True, max_size=2).map(tuple),
    labels=st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2),
)
cohorts = st.lists(st.builds(Cohort, selectors, st.integers(0, EVERYONE)), max_size=4).map(tuple)
machines = st.builds(
    Machine,
    st.integers(0, 60).map(lambda number: MachineId(f"m{number}")),
    st.sampled_from([RegionName("eu"), RegionName("us"), RegionName("ap")]),
    labels=st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2),
)
fleets = st.lists(st.tuples(machines, st.booleans()), max_size=30, unique_by=lambda one: one[0].id)
waves = st.builds(
    Wave,
    st.just("w"),
    selectors,
    percent=st.none() | st.integers(1, 99),
    count=st.none(),
    bake_s=st.just(0),
    reason=st.just("why"),
) | st.builds(Wave, st.just("w"), selectors, st.none(), st.integers(1, 8), st.just(0), st.just("why"))


def _alike(fleet: list[tuple[Machine, bool]]) -> tuple[Alike, ...]:
    """Each on its own, which is as good as in groups."""
    found = []
    for machine, reports in fleet:
        place = (activation_hash(D, machine.id),)
        found.append(Alike(machine, place if reports else (), () if reports else place))
    return tuple(found)


def _inside(written: tuple[Cohort, ...], fleet: list[tuple[Machine, bool]]) -> set[str]:
    return {machine.id for machine, _ in fleet if activation_hash(D, machine.id) <= threshold_for(written, machine)}


def test_the_order_is_that_of_the_documentation() -> None:
    assert activation_hash(D, MachineId("m1")) == 9754008820709272743
    assert activation_hash(D, MachineId("m2")) == 9666731711962908391
    assert activation_hash(DeploymentId("d"), MachineId("eu-west-1")) == 2867558581515294829


@given(cohorts, cohorts, fleets)
def test_who_is_inside_stays_inside(
    old: tuple[Cohort, ...], added: tuple[Cohort, ...], fleet: list[tuple[Machine, bool]]
) -> None:
    first = grown((), old)
    assert _inside(first, fleet) <= _inside(grown(first, added), fleet)


@given(cohorts, cohorts)
def test_thresholds_only_grow(old: tuple[Cohort, ...], added: tuple[Cohort, ...]) -> None:
    result = grown(old, added)
    assert len({str(cohort.selector) for cohort in result}) == len(result)
    assert [cohort.threshold for cohort in result] == sorted((cohort.threshold for cohort in result), reverse=True)
    for before in (*old, *added):
        assert any(after.selector == before.selector and after.threshold >= before.threshold for after in result)


@given(cohorts, st.lists(waves, max_size=4), fleets)
def test_a_region_that_is_shut_out_stays_out_and_changes_nothing_for_the_others(
    old: tuple[Cohort, ...], opened: list[Wave], fleet: list[tuple[Machine, bool]]
) -> None:
    eu = RegionName("eu")
    others = [(machine, reports) for machine, reports in fleet if machine.region != eu]
    free = grown((), old)
    shut = (*shut_out([eu]), *free)
    for wave in opened:
        free, shut = let_in(free, wave, _alike(others)), let_in(shut, wave, _alike(others))
    assert _inside(shut, fleet) == _inside(free, others)


@given(waves, fleets, cohorts)
def test_a_wave_lets_in_as_many_as_it_says_of_those_that_report(
    wave: Wave, fleet: list[tuple[Machine, bool]], before: tuple[Cohort, ...]
) -> None:
    meant = {machine.id for machine, _ in fleet if wave.selector.matches(machine)}
    reporting = {machine.id for machine, reports in fleet if reports} & meant
    alone = _inside(let_in((), wave, _alike(fleet)), fleet)
    assert alone <= meant
    if wave.everyone:
        assert alone == meant
    elif reporting:
        assert len(alone & reporting) == wave.size(len(reporting)) >= 1
    elif meant:
        assert len(alone) == wave.size(len(meant))
    assert _inside(grown((), before), fleet) | alone == _inside(let_in(grown((), before), wave, _alike(fleet)), fleet)


@given(waves, fleets)
def test_counts_by_region_are_those_of_machine_by_machine(wave: Wave, fleet: list[tuple[Machine, bool]]) -> None:
    written = let_in((), wave, _alike(fleet))
    counted = inside(written, _alike(fleet))
    assert sum(counted.values()) == len(_inside(written, fleet))
    assert all(counted.values())


@given(st.lists(waves, min_size=1, max_size=5), fleets)
def test_every_plan_comes_to_its_last_wave_and_lets_everybody_in(found: list[Wave], fleet: list[tuple[Machine, bool]]) -> None:
    plan = Plan("p", (*found, Wave("everyone", Selector(), None, None, 0, "rest")), 5, 5)
    number, written, seen = -1, tuple[Cohort, ...](), set[str]()
    while number < len(plan.waves) - 1:
        opening = open_next(plan, number, written, _alike(fleet))
        assert opening.number > number
        number, written = opening.number, opening.cohorts
        assert seen <= _inside(written, fleet)
        seen = _inside(written, fleet)
        assert sum(opening.expected.values()) == len(seen)
    assert seen == {machine.id for machine, _ in fleet}


def test_a_wave_that_means_nobody_is_skipped_and_one_whose_machines_are_silent_is_not() -> None:
    waves = tuple(Wave(name, Selector(regions=(RegionName(name),)), None, None, 0, "region") for name in ("eu", "us", "ap"))
    plan = Plan("p", (*waves, Wave("everyone", Selector(), None, None, 0, "rest")), 5, 5)
    fleet = _alike([(Machine(MachineId("m1"), RegionName("us")), False), (Machine(MachineId("m2"), RegionName("ap")), True)])
    opening = open_next(plan, -1, (), fleet)
    assert (opening.number, opening.skipped, opening.expected) == (1, (0,), {"us": 1})


def test_an_empty_wave_is_not_skipped_where_the_one_behind_it_needs_approval() -> None:
    """Approval is asked for the wave that comes next, so nobody gets past it by what is not there."""
    nobody = Wave("nobody", Selector((RegionName("mars"),)), None, None, 0, "why")
    guarded = Wave("guarded", Selector(), None, None, 0, "why", approvals=1)
    fleet = _alike([(Machine(MachineId("m1"), RegionName("eu")), True)])
    plan = Plan("p", (nobody, nobody, guarded), 0, 0)
    opened = open_next(plan, -1, (), fleet)
    assert (opened.number, opened.skipped, opened.expected) == (1, (0,), {})
    assert open_next(plan, 1, opened.cohorts, fleet).expected == {"eu": 1}
