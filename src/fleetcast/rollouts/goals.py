"""Goals as SQL holds them: what was decided, before anybody is told (the KV is derived from this)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.errors import Conflict
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal
from fleetcast.model.ids import Digest, ServiceName
from fleetcast.model.limits import PINNED_TOLD_MAX
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.origins import least_epoch
from fleetcast.schema.tables import artifacts, deployments, goals
from fleetcast.schema.upsert import upsert


@dataclass(frozen=True, slots=True)
class Standing:
    """One service and environment's row."""

    service: ServiceName
    environment: str
    goal_sequence: int
    """Of the deployment that the goal names; 0: no goal yet."""
    generation: Generation
    """Of the last write; :data:`~fleetcast.model.generation.FIRST` before it."""
    goal: Goal | None
    value: bytes
    """The goal as it goes into the KV, byte for byte."""


async def mint_sequence(tx: AsyncConnection, service: ServiceName, environment: str) -> int:
    """The next trigger's number, from 1. Triggers of one service and environment wait for each other here."""
    epoch = await least_epoch(tx)
    row = {"service": service, "environment": environment, "sequence": 0, "published": True, "epoch": epoch}
    await upsert(tx, goals, [row], update=["service"])
    minted = await tx.execute(
        update(goals).where(*_key(service, environment)).values(sequence=goals.c.sequence + 1).returning(goals.c.sequence)
    )
    return int(minted.scalar_one())


async def read_standing(tx: AsyncConnection, service: ServiceName, environment: str) -> Standing | None:
    """The row, locked for the rest of ``tx``; ``None``: never triggered."""
    row = (await tx.execute(select(goals).where(*_key(service, environment)).with_for_update())).one_or_none()
    return None if row is None else standing(row)


async def write_goal(tx: AsyncConnection, goal: Goal, sequence: int, over: Generation) -> None:
    """Decide on ``goal``, which is told the releases that are pinned now. It is published later, from this row; ``sequence`` is
    its deployment's.

    Raises:
        Conflict: the last write is not ``over`` any more, or ``goal`` is not above it (law 3).
    """
    goal = replace(goal, pinned=await _pinned(tx, goal.service))
    value = msgspec.json.encode(goal, order="deterministic").decode()
    generation = {"epoch": goal.generation.epoch, "counter": goal.generation.counter}
    written = await tx.execute(
        update(goals)
        .where(*_key(goal.service, goal.environment), goals.c.epoch == over.epoch, goals.c.counter == over.counter)
        .values(
            goal_sequence=sequence,
            deployment=goal.deployment,
            value=value,
            expires_at=goal.expires_at_ms,
            published=False,
            **generation,
        )
    )
    if written.rowcount != 1 or goal.generation <= over:
        raise Conflict("goal_moved_on", f"the goal of {goal.service} is not at {over} any more: decide again")
    await tx.execute(update(deployments).where(deployments.c.id == goal.deployment).values(**generation))


async def _pinned(tx: AsyncConnection, service: ServiceName) -> tuple[Digest, ...]:
    """Digests of a service's pinned artifacts, at most ``PINNED_TOLD_MAX``: those pinned last."""
    pinned = select(artifacts.c.digest).where(artifacts.c.service == service, artifacts.c.pinned_at.is_not(None))
    newest = pinned.order_by(artifacts.c.pinned_at.desc(), artifacts.c.id.desc()).limit(PINNED_TOLD_MAX)
    return tuple(dict.fromkeys(Digest(digest) for digest in (await tx.execute(newest)).scalars()))


def standing(row: AnyRow) -> Standing:
    """From a row of ``goals``."""
    return Standing(
        service=ServiceName(row.service),
        environment=row.environment,
        goal_sequence=row.goal_sequence,
        generation=Generation(row.epoch, row.counter),
        goal=None if row.value is None else msgspec.json.decode(row.value, type=Goal),
        value=(row.value or "").encode(),
    )


def _key(service: ServiceName, environment: str) -> tuple[Any, Any]:
    return goals.c.service == service, goals.c.environment == environment
