"""Taking a service away for good. Its tombstone, a goal of a higher generation, makes every machine stop it."""

from __future__ import annotations

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.errors import Refused
from fleetcast.model.event import EventKind
from fleetcast.model.ids import ServiceName
from fleetcast.model.limits import TOMBSTONE_S
from fleetcast.model.messages.services import ServiceRemoved
from fleetcast.rollouts.deployments import UNFINISHED
from fleetcast.rollouts.goals import read_standing, write_goal
from fleetcast.rollouts.inventory import expected
from fleetcast.rollouts.planner import removed
from fleetcast.rollouts.region_rollbacks import deployed_over, next_generation
from fleetcast.rollouts.services import get_service
from fleetcast.rollouts.trunk_heads import follow
from fleetcast.schema.events import record_event
from fleetcast.schema.tables import deployments, services
from fleetcast.stores.database import read_clock_ms

log = structlog.get_logger(__name__)


async def remove_service(tx: AsyncConnection, name: ServiceName, *, goal_lifetime_s: float) -> ServiceRemoved:
    """Remove it. What machines are told is published from here; what was deployed, built and replicated stays on record.

    Wake the controller afterwards.

    Raises:
        NotFound: no such service, or it was removed before.
        Refused: a deployment of it is unfinished.
    """
    spec = await get_service(tx, name)
    await _must_be_quiet(tx, name)
    now = await read_clock_ms(tx)
    await tx.execute(update(services).where(services.c.name == name).values(removed_at=now, updated_at=now))
    await follow(tx, spec, None)
    standing = await read_standing(tx, name, spec.environment)
    machines = 0
    if standing is not None and standing.goal is not None and not standing.goal.removed:
        machines = sum((await expected(tx, standing.goal.selector)).values())
        generation = await next_generation(tx, standing, now)
        tombstone = removed(standing.goal, generation, now + int(goal_lifetime_s * 1000))
        await write_goal(tx, tombstone, standing.goal_sequence, over=standing.generation)
        await deployed_over(tx, name, spec.environment, now, "the service was removed", now)
    record_event(tx, EventKind.SERVICE_REMOVED, name, service=name)
    log.info("service_removed", service=name, environment=spec.environment, machines=machines)
    return ServiceRemoved(name, now, machines, TOMBSTONE_S)


async def _must_be_quiet(tx: AsyncConnection, name: ServiceName) -> None:
    """Aborting is a decision of its own: whoever removes a service may not know who deploys it right now."""
    unfinished = (
        select(deployments.c.id, deployments.c.state)
        .where(deployments.c.service == name, deployments.c.state.in_(UNFINISHED))
        .order_by(deployments.c.sequence)
    )
    going = (await tx.execute(unfinished)).all()
    if going:
        which = ", ".join(f"{row.id} is {row.state}" for row in going)
        first = f"fleetcast abort {going[0].id}"
        raise Refused(
            "deployment_unfinished", f"{name} is being deployed ({which}): wait for the end, or {first}, then remove it"
        )
