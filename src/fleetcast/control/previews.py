"""What a deployment would do, said before anything happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.control.parts import Parts
from fleetcast.model.deployment import DeploymentKind, DeploymentState
from fleetcast.model.ids import DeploymentId, ServiceName
from fleetcast.model.limits import DISTRIBUTE_S_MAX, FIRST_WAVE_S_USUAL, WAVE_S_USUAL
from fleetcast.model.messages.deployments import Preview, PreviewRequest
from fleetcast.model.plan import Plan
from fleetcast.rollouts.deployments import deployment_rows, unfinished_in
from fleetcast.rollouts.environments import service_in
from fleetcast.rollouts.hold_facts import standing_freezes
from fleetcast.rollouts.holds import Holds, bound_by, first_approvals, obstacle
from fleetcast.rollouts.in_line import turn
from fleetcast.rollouts.inventory import alike, known_regions
from fleetcast.rollouts.plan_lint import must_be_legal, remarks
from fleetcast.rollouts.time_zones import must_be_known
from fleetcast.rollouts.wave_plan import Usual, bound_s, draw_up, timetable
from fleetcast.schema.rollout_tables import rollouts
from fleetcast.schema.tables import deployments
from fleetcast.stores.database import read_clock_ms

_NOBODY: Final = DeploymentId("preview")
"""Its machines are in an order of their own: a preview says how many, not which."""


async def preview(parts: Parts, request: PreviewRequest) -> Preview:
    """Raises :class:`NotFound` for an unknown service, :class:`Unprocessable` for a plan that cannot be taken."""
    if request.plan is not None:
        must_be_legal(request.plan)
        must_be_known(request.plan.freezes)
    async with parts.database.reading() as reading:
        spec = await service_in(reading, request.service, request.environment)
        policy = spec.plan if request.plan is None else bound_by(request.plan, spec.plan)
        plan = draw_up(policy, await alike(reading, spec.selector, _NOBODY))
        waves = timetable(plan, await _usual(reading, spec.name, spec.environment))
        holds = Holds(await standing_freezes(reading, spec.name, policy), first_approvals(policy))
        under_way = await unfinished_in(reading, spec.name, spec.environment)
        held = obstacle(holds, await read_clock_ms(reading))
        regions = {region.name for region in await known_regions(reading)}
    return Preview(
        service=spec.name,
        plan=plan.policy,
        waves=waves,
        machines=sum(sum(wave.machines.values()) for wave in plan.waves),
        ends_s=waves[-1].passes_s,
        budget_s=DISTRIBUTE_S_MAX,
        bound_s=bound_s(plan, parts.config.distribute_s_max),
        remarks=(*remarks(policy, plan, waves, regions), *_commands(plan, parts)),
        held=held,
        unfinished=tuple(each.id for each in under_way),
        when_busy=policy.when_busy,
        busy=turn(policy.when_busy, under_way),
    )


def _commands(plan: Plan, parts: Parts) -> Iterator[str]:
    named = dict.fromkeys(check.title for wave in plan.waves for check in wave.checks if check.command)
    if named and not parts.config.check_commands:
        yield f"it never passes check {', '.join(named)}: control runs no commands, its setting check_commands is off"


async def _usual(reading: AsyncConnection, service: ServiceName, environment: str) -> Usual:
    """The first wave fetches: as long as the last deployment took that let everybody in at once."""
    last = (
        deployment_rows()
        .where(
            deployments.c.service == service,
            deployments.c.environment == environment,
            deployments.c.state == DeploymentState.SUCCEEDED,
            deployments.c.kind == DeploymentKind.DEPLOY,
            deployments.c.distributed_at.is_not(None),
            rollouts.c.plan.is_(None),
        )
        .order_by(deployments.c.sequence.desc())
        .limit(1)
    )
    row = (await reading.execute(last)).one_or_none()
    if row is None:
        return Usual(FIRST_WAVE_S_USUAL, WAVE_S_USUAL)
    took_s = max(0, row.distributed_at - row.goal_at) / 1000
    return Usual(took_s, min(took_s, WAVE_S_USUAL))
