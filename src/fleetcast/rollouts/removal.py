"""Taking a service, or one of its environments, away for good. Its tombstone, a goal of a higher generation, makes every
machine stop it.
"""

from __future__ import annotations

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.errors import Refused
from fleetcast.model.event import EventKind
from fleetcast.model.ids import ServiceName
from fleetcast.model.limits import TOMBSTONE_S
from fleetcast.model.messages.environments import EnvironmentRemoved
from fleetcast.model.messages.services import ServiceRemoved
from fleetcast.rollouts.counting import expected
from fleetcast.rollouts.deployments import UNFINISHED
from fleetcast.rollouts.environments import remove_row
from fleetcast.rollouts.goals import read_standing, write_goal
from fleetcast.rollouts.planner import removed
from fleetcast.rollouts.region_rollbacks import deployed_over, next_generation
from fleetcast.rollouts.services import get_service
from fleetcast.rollouts.trunk_heads import follow
from fleetcast.schema.environment_tables import environments
from fleetcast.schema.events import record_event
from fleetcast.schema.tables import deployments, goals, services
from fleetcast.stores.database import read_clock_ms

log = structlog.get_logger(__name__)


async def remove_service(tx: AsyncConnection, name: ServiceName, *, goal_lifetime_s: float) -> ServiceRemoved:
    """Remove it, with all its environments. What machines are told is published from here; what was deployed, built and
    replicated stays on record.

    Wake the controller afterwards.

    Raises:
        NotFound: no such service, or it was removed before.
        Refused: a deployment of it is unfinished.
    """
    spec = await get_service(tx, name)
    await _must_be_quiet(tx, name, None)
    now = await read_clock_ms(tx)
    gone = {"removed_at": now, "updated_at": now}
    await tx.execute(update(services).where(services.c.name == name).values(**gone))
    there = environments.c.service == name, environments.c.removed_at.is_(None)
    await tx.execute(update(environments).where(*there).values(**gone, takes_pushes=False))
    await follow(tx, spec, None)
    everywhere = select(goals.c.environment).where(goals.c.service == name).order_by(goals.c.environment)
    machines = 0
    for environment in (await tx.execute(everywhere)).scalars().all():
        machines += await _bury(tx, name, environment, now, goal_lifetime_s, "the service was removed")
    record_event(tx, EventKind.SERVICE_REMOVED, name, service=name)
    log.info("service_removed", service=name, environment=spec.environment, machines=machines)
    return ServiceRemoved(name, now, machines, TOMBSTONE_S)


async def remove_environment(
    tx: AsyncConnection, service: ServiceName, name: str, *, goal_lifetime_s: float
) -> EnvironmentRemoved:
    """Remove one of a service's environments; as :func:`remove_service`.

    Raises:
        NotFound: there is none of that name.
        Refused: it is the service's own, another one requires it, or a deployment to it is unfinished.
    """
    now = await read_clock_ms(tx)
    await remove_row(tx, service, name, now)
    await _must_be_quiet(tx, service, name)
    machines = await _bury(tx, service, name, now, goal_lifetime_s, "the environment was removed")
    log.info("environment_removed", service=service, environment=name, machines=machines)
    return EnvironmentRemoved(service, name, now, machines, TOMBSTONE_S)


async def _bury(tx: AsyncConnection, service: ServiceName, environment: str, now: int, goal_lifetime_s: float, why: str) -> int:
    """Write the tombstone, where something was deployed. How many machines that concerns."""
    standing = await read_standing(tx, service, environment)
    if standing is None or standing.goal is None or standing.goal.removed:
        return 0
    machines = sum((await expected(tx, standing.goal.selector)).values())
    generation = await next_generation(tx, standing, now)
    tombstone = removed(standing.goal, generation, now + int(goal_lifetime_s * 1000))
    await write_goal(tx, tombstone, standing.goal_sequence, over=standing.generation)
    await deployed_over(tx, service, environment, now, why, now)
    return machines


async def _must_be_quiet(tx: AsyncConnection, name: ServiceName, environment: str | None) -> None:
    """Aborting is a decision of its own: whoever removes a service may not know who deploys it right now.

    ``None``: in any environment."""
    unfinished = (
        select(deployments.c.id, deployments.c.state)
        .where(deployments.c.service == name, deployments.c.state.in_(UNFINISHED))
        .order_by(deployments.c.created_at, deployments.c.sequence)
    )
    if environment is not None:
        unfinished = unfinished.where(deployments.c.environment == environment)
    going = (await tx.execute(unfinished)).all()
    if going:
        which = ", ".join(f"{row.id} is {row.state}" for row in going)
        first = f"fleetcast abort {going[0].id}"
        raise Refused(
            "deployment_unfinished", f"{name} is being deployed ({which}): wait for the end, or {first}, then remove it"
        )
