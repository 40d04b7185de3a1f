"""From a policy and a fleet to the waves of one deployment, with their reasons and the time they take (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.goal import Cohort
from fleetcast.model.ids import RegionName
from fleetcast.model.limits import CHECK_WAIT_S_MAX, STAGE_WAVES_MAX
from fleetcast.model.machine import Selector
from fleetcast.model.plan import Plan, PlannedWave, Policy, Stage, Wave
from fleetcast.rollouts.cohorts import Alike, open_next


@dataclass(frozen=True, slots=True)
class Usual:
    """Seconds that machines need to come up: in the first wave, which everybody fetches in, and in each later one."""

    first_wave_s: float
    wave_s: float


def draw_up(policy: Policy, fleet: Sequence[Alike]) -> Plan:
    """The plan for the machines there are. It ends with a wave for everybody, whether the policy has one or not: what joins
    in the middle, or is meant by no stage, comes with that at the latest."""
    plan = outline(policy, {alike.like.region for alike in fleet if len(alike)})
    return replace(plan, waves=tuple(_counted(plan, fleet)))


def outline(policy: Policy, there: Set[RegionName]) -> Plan:
    """What :func:`draw_up` makes of it where these regions have machines, before anybody counts how many."""
    regions = in_order(policy, there)
    waves = [wave for stage in policy.all_stages for wave in _guarded(stage, _of(stage, policy, regions))]
    if not policy.all_stages:
        waves.append(Wave("everyone", Selector(), None, None, 0, "all at once"))
    elif policy.all_stages[-1].whole and waves:
        # The last of them lets in whoever is left, in regions that join meanwhile too.
        waves[-1] = replace(waves[-1], selector=Selector(), percent=None)
    else:
        waves.append(Wave("everyone else", Selector(), None, None, 0, "no stage before means all of them"))
    return Plan(policy.name, tuple(waves), policy.failed_percent, policy.unreachable_percent)


def in_order(policy: Policy, regions: Set[RegionName]) -> list[RegionName]:
    """As the policy takes them: those it names, then the others by name."""
    first = [region for region in dict.fromkeys(policy.region_order) if region in regions]
    return [*first, *sorted(regions - set(first))]


def timetable(plan: Plan, usual: Usual) -> tuple[PlannedWave, ...]:
    """When each wave starts and passes, if all goes as it usually does."""
    planned, now_s = [], 0.0
    for number, wave in enumerate(plan.waves):
        takes_s = (usual.wave_s if number else usual.first_wave_s) + wave.bake_s
        planned.append(PlannedWave(wave, now_s, now_s + takes_s))
        now_s += takes_s
    return tuple(planned)


def bound_s(plan: Plan, wave_s_max: float) -> float:
    """Within how many seconds from its goal a deployment by this plan has ended, whatever happens, pauses apart."""
    return sum(_wave_bound_s(wave, wave_s_max) for wave in plan.waves)


def left_s(
    state: DeploymentState, plan: Plan, number: int, gone_s: float, *, replicate_s_max: float, wave_s_max: float
) -> float:
    """Within how many seconds a deployment has ended, whatever happens; a build, pauses, holds and its turn in line apart.

    ``number``: the index of the wave that was let in last. ``gone_s``: for how long that has been in, or, before the first, for
    how long the release has been on its way to the regions; pauses and holds of the wave left out.
    """
    if state is DeploymentState.BUILDING:
        return replicate_s_max + bound_s(plan, wave_s_max)
    if state is DeploymentState.REPLICATING:
        return max(0.0, replicate_s_max - gone_s) + bound_s(plan, wave_s_max)
    present, later = plan.waves[number], replace(plan, waves=plan.waves[number + 1 :])
    return max(0.0, _wave_bound_s(present, wave_s_max) - gone_s) + bound_s(later, wave_s_max)


def _wave_bound_s(wave: Wave, wave_s_max: float) -> float:
    return wave_s_max + wave.bake_s + (CHECK_WAIT_S_MAX if wave.checks else 0)


def _of(stage: Stage, policy: Policy, regions: Sequence[RegionName]) -> Iterator[Wave]:
    percent = None if stage.percent == 100 else stage.percent
    share = f"{stage.count} of " if stage.count is not None else "" if percent is None else f"{percent}% of "
    if not stage.by_region:
        name = stage.name or f"{share}{_words(stage.selector)}"
        yield Wave(name, stage.selector, percent, stage.count, stage.bake_s, f"{share}{_words(stage.selector)}")
        return
    here = [region for region in regions if not stage.regions or region in stage.regions]
    if not here and stage.approvals:
        here = [*stage.regions] or [*policy.region_order]  # nobody, as yet: what is to be approved is asked for all the same
    together = max(policy.regions_at_once, -(-len(here) // STAGE_WAVES_MAX))
    for first in range(0, len(here), together):
        some = tuple(here[first : first + together])
        selector = replace(stage.selector, regions=some)
        name = " ".join((stage.name, *some)).strip()
        reason = f"{share}{_words(selector)}: at most {together} {'region' if together == 1 else 'regions'} at once"
        yield Wave(name, selector, percent, stage.count, stage.bake_s, reason)


def _guarded(stage: Stage, waves: Iterator[Wave]) -> Iterator[Wave]:
    """The waves of a stage with its checks; the first needs its approvals."""
    waves = (replace(wave, checks=stage.checks) for wave in waves)
    first = next(waves, None)
    if first is not None:
        reason = f"{first.reason}, once {stage.approvals} approve" if stage.approvals else first.reason
        yield replace(first, approvals=stage.approvals, reason=reason)
    yield from waves


def _words(selector: Selector) -> str:
    parts = [*selector.regions, *selector.zones, *(f"{key}={value}" for key, value in selector.labels.items())]
    return " ".join(parts) or "everyone"


def _counted(plan: Plan, fleet: Sequence[Alike]) -> Iterator[Wave]:
    """Each wave with the machines that it adds to those before it."""
    number, cohorts = -1, tuple[Cohort, ...]()
    before: Mapping[RegionName, int] = {}
    counts: dict[int, dict[RegionName, int]] = {}
    while number < len(plan.waves) - 1:
        opening = open_next(plan, number, cohorts, fleet)
        number, cohorts = opening.number, opening.cohorts
        added = {region: count - before.get(region, 0) for region, count in opening.expected.items()}
        counts[number] = {region: count for region, count in added.items() if count}
        before = opening.expected
    for each, wave in enumerate(plan.waves):
        yield replace(wave, machines=counts.get(each, {}))
