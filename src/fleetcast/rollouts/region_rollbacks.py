"""What regions tell of rollbacks that somebody made there past control: on record, until somebody deploys the service again.

While one stands, control decides nothing for the service by itself: what was under way is ended by the controller
(``rollouts/gate.py``), and goals are only renewed, for the other regions, below the region's own epoch. The next deployment's
goal is above that (law 3), and the region is told that it may take control's goals again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog
from sqlalchemy import exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.event import EventKind
from fleetcast.model.generation import Generation
from fleetcast.model.ids import DeploymentId, RegionName, ServiceName
from fleetcast.model.limits import REGION_ROLLBACKS_LISTED_MAX
from fleetcast.model.lines import one_line
from fleetcast.model.region_rollback import RecordedRollback, RegionRollback, StandingRollback
from fleetcast.rollouts.generations import after
from fleetcast.rollouts.goals import Standing, read_standing, write_goal
from fleetcast.rollouts.planner import renewed
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.events import record_event
from fleetcast.schema.region_tables import region_rollbacks
from fleetcast.schema.tables import deployments, goals, services

log = structlog.get_logger(__name__)

_STANDS: Final = region_rollbacks.c.over_at.is_(None)


async def record(tx: AsyncConnection, region: RegionName, told: Sequence[StandingRollback], now: int) -> None:
    """Take in what a region says stands. What it says no more is not over for that: it may have lost it, or be another process.

    ``now``: the database's clock.
    """
    if not told:
        return
    ids = [each.rollback.deployment for each in told]
    known = {row.id: row for row in await tx.execute(select(region_rollbacks).where(region_rollbacks.c.id.in_(ids)))}
    for each in told:
        row = known.get(each.rollback.deployment)
        if row is None:
            await _record_new(tx, region, each, now)
        elif (row.epoch, row.counter) != (each.generation.epoch, each.generation.counter):
            this = region_rollbacks.c.id == row.id
            await tx.execute(update(region_rollbacks).where(this).values(**_columns(each.generation)))


async def over(reading: AsyncConnection, told: Iterable[StandingRollback]) -> tuple[DeploymentId, ...]:
    """Those of them that stand no more, as soon as the goal that is to go everywhere is where regions read it: earlier, they
    would find the one before it and take that for a mistake."""
    ids = [each.rollback.deployment for each in told]
    if not ids:
        return ()
    there = exists().where(
        goals.c.service == region_rollbacks.c.service,
        goals.c.environment == region_rollbacks.c.environment,
        goals.c.published,
    )
    ended = select(region_rollbacks.c.id).where(region_rollbacks.c.id.in_(ids), ~_STANDS, there)
    return tuple(DeploymentId(id_) for id_ in (await reading.execute(ended)).scalars())


async def standing_since(
    reading: AsyncConnection, service: ServiceName, environment: str, since_ms: int
) -> tuple[RegionRollback, ...]:
    """Those that stand and were made since then, the first made first."""
    rows = (
        select(region_rollbacks.c.rollback)
        .where(*_of(service, environment), _STANDS, region_rollbacks.c.made_at >= since_ms)
        .order_by(region_rollbacks.c.made_at, region_rollbacks.c.id)
    )
    return tuple((await reading.execute(rows)).scalars())


async def next_generation(tx: AsyncConnection, standing: Standing, now: int) -> Generation:
    """Of a goal that somebody asks for: above the last one, and above what regions have made past control."""
    return after(standing.generation, await _made(tx, standing.service, standing.environment), now)


async def deployed_over(tx: AsyncConnection, service: ServiceName, environment: str, since_ms: int, why: str, now: int) -> None:
    """Somebody wants something else of the service since ``since_ms``: what was made before that stands no more."""
    which = (*_of(service, environment), _STANDS, region_rollbacks.c.made_at < since_ms)
    for row in (await tx.execute(select(region_rollbacks).where(*which))).all():
        await _end(tx, row, why, now)


async def list_rollbacks(
    reading: AsyncConnection, service: ServiceName | None = None, *, standing: bool = False
) -> tuple[RecordedRollback, ...]:
    """The newest first; ``standing``: only those."""
    rows = select(region_rollbacks).order_by(region_rollbacks.c.made_at.desc(), region_rollbacks.c.id)
    rows = rows.where(region_rollbacks.c.service == service) if service is not None else rows
    rows = rows.where(_STANDS) if standing else rows
    return tuple(_recorded(row) for row in await reading.execute(rows.limit(REGION_ROLLBACKS_LISTED_MAX)))


async def _record_new(tx: AsyncConnection, region: RegionName, told: StandingRollback, now: int) -> None:
    by, why = one_line(told.rollback.by), one_line(told.rollback.why)
    rollback, made_at = replace(told.rollback, by=by, why=why), now - told.age_ms
    before = (*_of(rollback.service, rollback.environment), _STANDS, region_rollbacks.c.region == region)
    for row in (await tx.execute(select(region_rollbacks).where(*before, region_rollbacks.c.made_at <= made_at))).all():
        await _end(tx, row, "it was rolled back once more there", now)
    await tx.execute(
        insert(region_rollbacks).values(
            id=rollback.deployment,
            region=region,
            service=rollback.service,
            environment=rollback.environment,
            rollback=rollback,
            made_at=made_at,
            recorded_at=now,
            **_columns(told.generation),
        )
    )
    said = f"{region} was rolled back from {rollback.left.artifact} to {rollback.target.artifact} past control by {rollback.by}"
    said += f": {rollback.why}" if rollback.why else ""
    record_event(tx, EventKind.REGION_ROLLED_BACK, region, service=rollback.service, text=said)
    log.warning("region_rolled_back", region=region, service=rollback.service, target=rollback.target.artifact, by=rollback.by)
    await _yield_to_newer(tx, rollback.service, rollback.environment, made_at, now)


async def _yield_to_newer(tx: AsyncConnection, service: ServiceName, environment: str, made_at: int, now: int) -> None:
    """Where somebody has deployed, or removed the service, after the rollback and before control heard of it, that goal has to
    reach the region too: it is written again, above the region's."""
    standing = await read_standing(tx, service, environment)
    if standing is None or standing.goal is None:
        return
    wanted = select(deployments.c.created_at).where(deployments.c.id == standing.goal.deployment)
    wanted_at, why = (await tx.execute(wanted)).scalar_one_or_none(), f"deployment {standing.goal.deployment}"
    if standing.goal.removed:
        removed = select(services.c.removed_at).where(services.c.name == service)
        wanted_at, why = (await tx.execute(removed)).scalar_one_or_none(), "the service was removed"
    if wanted_at is None or wanted_at <= made_at:
        return
    generation = await next_generation(tx, standing, now)
    goal = renewed(standing.goal, generation, standing.goal.expires_at_ms)
    await write_goal(tx, goal, standing.goal_sequence, over=standing.generation)
    await deployed_over(tx, service, environment, wanted_at, why, now)


async def _end(tx: AsyncConnection, row: AnyRow, why: str, now: int) -> None:
    await tx.execute(update(region_rollbacks).where(region_rollbacks.c.id == row.id).values(over_at=now, over_why=why))
    record_event(tx, EventKind.REGION_FOLLOWS_AGAIN, row.region, service=row.service, text=why)


async def _made(tx: AsyncConnection, service: ServiceName, environment: str) -> list[Generation]:
    rows = select(region_rollbacks.c.epoch, region_rollbacks.c.counter).where(*_of(service, environment))
    return [Generation(row.epoch, row.counter) for row in await tx.execute(rows)]


def _of(service: ServiceName, environment: str) -> tuple[Any, Any]:
    return region_rollbacks.c.service == service, region_rollbacks.c.environment == environment


def _columns(generation: Generation) -> dict[str, int]:
    return {"epoch": generation.epoch, "counter": generation.counter}


def _recorded(row: AnyRow) -> RecordedRollback:
    return RecordedRollback(row.rollback, row.made_at, row.recorded_at, row.over_at, row.over_why)
