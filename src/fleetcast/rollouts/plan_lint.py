"""What is wrong with a policy, in a line each (pure). Run wherever one comes in: command line, API, tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetcast.model.errors import Invalid, Unprocessable
from fleetcast.model.ids import RegionName, region_name
from fleetcast.model.limits import (
    APPROVALS_MAX,
    BAKE_S_MAX,
    CHECKS_MAX,
    DISTRIBUTE_S_MAX,
    PLAN_REGIONS_MAX,
    REGION_MACHINES_MAX,
    STAGE_NAME_CHARS_MAX,
    STAGES_MAX,
)
from fleetcast.model.plan import Plan, PlannedWave, Policy, Stage
from fleetcast.model.spans import span
from fleetcast.rollouts.check_lint import check_problems
from fleetcast.rollouts.freezes import freeze_problems


def problems(policy: Policy) -> list[str]:
    """Why it cannot be taken, whatever machines there are; nothing: it can."""
    return list(_problems(policy))


def must_be_legal(policy: Policy) -> None:
    """Raises :class:`Unprocessable` with the first of :func:`problems`."""
    for problem in problems(policy):
        raise Unprocessable("illegal_plan", f"the plan cannot be taken: {problem}")


def remarks(policy: Policy, plan: Plan, timetable: Sequence[PlannedWave], regions: set[RegionName]) -> list[str]:
    """What a person should know of a policy that can be taken, for the fleet as it is. ``regions``: all that are known."""
    return list(_remarks(policy, plan, timetable, regions))


def _problems(policy: Policy) -> Iterator[str]:
    if len(policy.stages) > STAGES_MAX:
        yield f"{len(policy.stages)} stages are too many: a plan has at most {STAGES_MAX}"
    if not 1 <= policy.regions_at_once <= PLAN_REGIONS_MAX:
        yield f"regions_at_once is {policy.regions_at_once}: say 1 to {PLAN_REGIONS_MAX}"
    if len(policy.region_order) > PLAN_REGIONS_MAX:
        yield f"region_order names {len(policy.region_order)} regions: it may name {PLAN_REGIONS_MAX}"
    if len(set(policy.region_order)) < len(policy.region_order):
        yield "region_order names a region twice: name each once"
    for what, percent in (("failed_percent", policy.failed_percent), ("unreachable_percent", policy.unreachable_percent)):
        if not 0 <= percent <= 99:
            yield f"{what} is {percent}: say 0 to 99"
    if not 0 <= policy.approvals <= APPROVALS_MAX:
        yield f"approvals is {policy.approvals}: say 0 to {APPROVALS_MAX}"
    yield from freeze_problems(policy.freezes)
    yield from _illegal(policy.region_order)
    for number, stage in enumerate(policy.stages, 1):
        for problem in (*_of(stage), *_illegal(stage.regions), *_after(policy.stages[: number - 1], stage)):
            yield f"stage {number}: {problem}"


def _of(stage: Stage) -> Iterator[str]:
    if not (len(stage.name) <= STAGE_NAME_CHARS_MAX and stage.name.isprintable()):
        yield f"its name has to be printable, and at most {STAGE_NAME_CHARS_MAX} characters long"
    if stage.percent is not None and stage.count is not None:
        yield "it has a percent and a count: say one of them"
    if stage.percent is not None and not 1 <= stage.percent <= 100:
        yield f"percent is {stage.percent}: say 1 to 100"
    if stage.count is not None and not 1 <= stage.count <= REGION_MACHINES_MAX:
        yield f"count is {stage.count}: say 1 to {REGION_MACHINES_MAX}"
    if not 0 <= stage.bake_s <= BAKE_S_MAX:
        yield f"bake_s is {stage.bake_s}: say 0 to {BAKE_S_MAX}"
    if len(stage.checks) > CHECKS_MAX:
        yield f"{len(stage.checks)} checks are too many: a stage has at most {CHECKS_MAX}"
    for number, check in enumerate(stage.checks, 1):
        yield from (f"check {number}: {problem}" for problem in check_problems(check))
    if not 0 <= stage.approvals <= APPROVALS_MAX:
        yield f"approvals is {stage.approvals}: say 0 to {APPROVALS_MAX}"


def _after(earlier: Sequence[Stage], stage: Stage) -> Iterator[str]:
    """What an earlier stage leaves for this one to do."""
    if any(one.whole for one in earlier):
        yield "an earlier stage lets everybody in: nobody is left for this one"
    for number, one in enumerate(earlier, 1):
        if one.selector != stage.selector or one.by_region != stage.by_region:
            continue
        by_percent = one.percent is not None and stage.percent is not None and stage.percent <= one.percent
        by_count = one.count is not None and stage.count is not None and stage.count <= one.count
        if by_percent or by_count:
            yield f"it adds nobody to stage {number}, which takes as many of the same machines: raise it, or leave it out"


def _illegal(regions: Sequence[RegionName]) -> Iterator[str]:
    for region in regions:
        try:
            region_name(region)
        except Invalid as error:
            yield error.message


def _remarks(policy: Policy, plan: Plan, timetable: Sequence[PlannedWave], regions: set[RegionName]) -> Iterator[str]:
    named = dict.fromkeys([*policy.region_order, *(region for stage in policy.stages for region in stage.regions)])
    for region in named:
        if region not in regions:
            yield f"it names region {region}, which is not there"
    machines = [sum(wave.machines.values()) for wave in plan.waves]
    if not any(machines):
        yield "the service selects no machine"
    for wave, count in zip(plan.waves[:-1], machines, strict=False):
        if count == 0:
            yield f"wave {wave.name} adds no machine"
    if len(plan.waves) > 1 and machines[0] == sum(machines) > 0:
        yield f"the first wave has all of the {machines[0]} machines: there is nothing to compare it with"
    ends_s = timetable[-1].passes_s
    if ends_s > DISTRIBUTE_S_MAX:
        yield f"it takes about {span(ends_s)}, more than the {span(DISTRIBUTE_S_MAX)} in which a release should be everywhere"
