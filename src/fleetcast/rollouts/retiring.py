"""Retiring a machine: nothing waits for it from then on, the wave that had let it in included."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.ids import MachineId, RegionName, ServiceName
from fleetcast.model.limits import MACHINE_FORGOTTEN_S, RETIRED_TOLD_MAX
from fleetcast.model.machine import Machine
from fleetcast.rollouts import inventory
from fleetcast.rollouts.cohorts import inside, let_in
from fleetcast.rollouts.deployments import deployment_rows
from fleetcast.rollouts.goals import read_standing, write_goal
from fleetcast.rollouts.planner import widened
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.rollout_tables import rollouts
from fleetcast.schema.tables import deployments, machines
from fleetcast.stores.database import now_ms


async def retire(tx: AsyncConnection, machine: MachineId) -> None:
    """Count a machine that is gone no more. One that reports again is back. Raises as :func:`inventory.retire`."""
    known = await inventory.known_machine(tx, machine)
    await inventory.retire(tx, machine)
    if known.retired_at_ms is None:
        in_waves = deployments.c.state == DeploymentState.DISTRIBUTING, rollouts.c.wave.is_not(None)
        for row in (await tx.execute(deployment_rows().where(*in_waves).order_by(deployments.c.sequence))).all():
            if row.selector.matches(known.machine):
                await _leave(tx, row, known.machine)


async def recently_retired(reading: AsyncConnection, region: RegionName) -> tuple[MachineId, ...]:
    """The last ones of a region that it may still remember, newest first; those that came back left out."""
    lately = machines.c.retired_at > now_ms() - MACHINE_FORGOTTEN_S * 1000
    rows = select(machines.c.id).where(machines.c.region == region, lately)
    newest = rows.order_by(machines.c.retired_at.desc(), machines.c.id).limit(RETIRED_TOLD_MAX)
    return tuple(MachineId(id_) for id_ in (await reading.execute(newest)).scalars())


async def _leave(tx: AsyncConnection, row: AnyRow, machine: Machine) -> None:
    """The wave under way is counted without it, and has somebody else in its place where it is a share or a number of
    machines: a canary that is retired is no reason to go on without one."""
    standing = await read_standing(tx, ServiceName(row.service), row.environment)
    if standing is None or standing.goal is None or standing.goal.deployment != row.id:
        return
    goal = standing.goal
    if not goal.activates(machine):
        return
    fleet = [each for each in await inventory.alike(tx, row.selector, row.id) if each.like.region not in (row.skipped or ())]
    opened = let_in(goal.cohorts, row.plan.waves[row.wave], fleet)
    quiet = [replace(alike, reporting=()) for alike in fleet]
    counted: dict[str, Any] = {"wave_expected": inside(opened, fleet), "wave_silent": inside(opened, quiet)}
    if opened != goal.cohorts:
        goal = widened(goal, opened, standing.generation.next(), goal.expires_at_ms)
        await write_goal(tx, goal, standing.goal_sequence, over=standing.generation)
        let_in_by = {"wave_epoch": goal.generation.epoch, "wave_counter": goal.generation.counter}
        counted |= {**let_in_by, "wave_at": now_ms(), "healthy_at": None}
    await tx.execute(update(rollouts).where(rollouts.c.deployment == row.id).values(**counted))
