"""What holds a deployment back, in SQL: read for the gate, and remembered."""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import DeploymentKind, DeploymentState
from fleetcast.model.event import EventKind
from fleetcast.model.ids import ServiceName
from fleetcast.model.plan import Policy
from fleetcast.model.spans import span
from fleetcast.rollouts.company_freezes import freezes_of
from fleetcast.rollouts.freezes import Zoned
from fleetcast.rollouts.holds import Holds, first_approvals
from fleetcast.rollouts.time_zones import zoned
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.events import record_event
from fleetcast.schema.rollout_tables import approvals, rollouts


async def hold_facts(reading: AsyncConnection, row: AnyRow) -> Holds:
    """Of a row of :func:`~fleetcast.rollouts.deployments.deployment_rows`."""
    state = DeploymentState(row.state)
    let_in = state is DeploymentState.DISTRIBUTING and (row.plan is None or row.wave == len(row.plan.waves) - 1)
    if let_in or state is DeploymentState.BUILDING or row.kind == DeploymentKind.ROLLBACK or row.policy is None:
        return Holds()
    standing = () if row.override_freeze else await standing_freezes(reading, ServiceName(row.service), row.policy)
    wave, needed = next_approvals(row)
    approved = 0
    if needed:
        given = select(func.count()).select_from(approvals)
        of_wave = given.where(approvals.c.deployment == row.id, approvals.c.wave == wave)
        approved = (await reading.execute(of_wave)).scalar_one()
    return Holds(standing, needed, approved, row.held_at)


async def standing_freezes(reading: AsyncConnection, service: ServiceName, policy: Policy) -> tuple[Zoned, ...]:
    """That a deployment of the service by this policy has to heed, in force or not."""
    return zoned((*policy.freezes, *await freezes_of(reading, service)))


def next_approvals(row: AnyRow) -> tuple[int, int]:
    """The index of the wave that comes next, and how many people have to approve it."""
    if row.plan is None:
        return 0, first_approvals(row.policy)
    wave = row.wave + 1
    return wave, row.plan.waves[wave].approvals if wave < len(row.plan.waves) else 0


async def record_hold(tx: AsyncConnection, row: AnyRow, held_at_ms: int | None, reason: str, now: int) -> None:
    """Since when it is held; once it is not any more, its wave gets the time back."""
    if row.held_at == held_at_ms:
        return
    text, state = reason, DeploymentState(row.state)
    values: dict[str, int | None] = {"held_at": held_at_ms}
    if held_at_ms is None:
        held_ms = max(0, now - row.held_at)
        values["wave_at"] = None if row.wave_at is None else row.wave_at + held_ms
        text = f"held no more, after {span(held_ms / 1000)}"
    await tx.execute(update(rollouts).where(rollouts.c.deployment == row.id).values(values))
    record_event(tx, EventKind.DEPLOYMENT_HELD, row.id, service=row.service, state=state, text=text)
