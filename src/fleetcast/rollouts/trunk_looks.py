"""Looks at branches, in SQL: which are due, who makes them, and what came of them.

A look is claimed by row, with a lease by the database's clock and a token that the result names (law 1). So of several control
processes one looks, another does when that one died, and the result of one that was thought dead is dropped.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.errors import Invalid, NotFound, Refused
from fleetcast.model.ids import CommitSha, ServiceName, commit_sha
from fleetcast.model.limits import POLL_ALARMS_MAX, POLL_DUE_MAX, POLL_LEASE_S
from fleetcast.rollouts.look_schedule import delay_s
from fleetcast.rollouts.push_order import Head
from fleetcast.rollouts.pushes import Pushes
from fleetcast.rollouts.services import get_service
from fleetcast.rollouts.trunk_heads import head_of, locked, write_head
from fleetcast.schema.push_tables import trunk_heads
from fleetcast.schema.tables import services
from fleetcast.stores.database import Database, now_ms

_ROW: Final = (trunk_heads.c.service, services.c.repository, services.c.trunk, services.c.poll_every_s, trunk_heads.c.look_at)


@dataclass(frozen=True, slots=True)
class Look:
    """One branch that is to be looked at, and the token that its result names."""

    service: ServiceName
    repository: str
    trunk: str
    every_s: int
    due_at_ms: int
    token: str


async def claim_looks(database: Database, repositories_max: int) -> tuple[Look, ...]:
    """Looks that are due, longest first, at all branches of at most so many repositories: each is asked once for all of its."""
    polled = select(*_ROW).join(services, services.c.name == trunk_heads.c.service).where(services.c.poll_every_s.is_not(None))
    due = polled.where(*_due()).order_by(trunk_heads.c.look_at).limit(POLL_DUE_MAX)
    async with database.reading() as reading:
        found = (await reading.execute(due)).all()
    chosen = list(dict.fromkeys(row.repository for row in found))[:repositories_max]
    wanted = [row.service for row in found if row.repository in chosen]
    if not wanted:
        return ()
    token = secrets.token_hex(16)
    free = select(trunk_heads.c.service).where(trunk_heads.c.service.in_(wanted), *_due())
    claimed = (
        update(trunk_heads)
        .where(trunk_heads.c.service.in_(free.with_for_update(skip_locked=True)))
        .values(token=token, claim_expires_at=now_ms() + POLL_LEASE_S * 1000)
        .returning(trunk_heads.c.service)
    )
    async with database.transaction() as tx:
        ours = [row.service for row in await tx.execute(claimed)]
        # Read again: a service may follow another branch since we saw that it is due.
        described = polled.where(trunk_heads.c.service.in_(ours)).order_by(trunk_heads.c.service)
        rows = (await tx.execute(described)).all()
    return tuple(
        Look(ServiceName(row.service), row.repository, row.trunk, row.poll_every_s, row.look_at, token) for row in rows
    )


async def seen(database: Database, pushes: Pushes, look: Look, sha: str | None, rng: Random) -> str | None:
    """Take in where the branch is (``None``: there is none). Returns the id of what a new head has triggered.

    The first look at a branch triggers nothing. What cannot be triggered now is tried again, as a look that failed.
    """
    if sha is None:
        await failed(database, look, f"there is no branch {look.trunk}: say --trunk, or make it", rng)
        return None
    try:
        async with database.transaction() as tx:
            return await _seen(tx, pushes, look, commit_sha(sha), rng)
    except (Refused, NotFound, Invalid) as error:
        await failed(database, look, error.message, rng)
        return None


async def failed(database: Database, look: Look, why: str, rng: Random) -> None:
    """A look, or what it should have triggered, did not come off."""
    async with database.transaction() as tx:
        row = (await tx.execute(select(trunk_heads).where(*_held(look)).with_for_update())).one_or_none()
        if row is None:
            return
        failures = row.failures + 1
        await _done(tx, look, row.look_at, delay_s(look.every_s, failures, rng), failures, why)


async def failing(reading: AsyncConnection) -> Sequence[str]:
    """Services whose trunk control cannot follow, in a line each, at most ``POLL_ALARMS_MAX``."""
    bad = (
        select(trunk_heads.c.service, trunk_heads.c.failures, trunk_heads.c.error, services.c.trunk)
        .join(services, services.c.name == trunk_heads.c.service)
        .where(trunk_heads.c.failures > 0, trunk_heads.c.look_at.is_not(None))
        .order_by(trunk_heads.c.service)
        .limit(POLL_ALARMS_MAX)
    )
    return [
        f"{row.service}: control cannot follow its trunk {row.trunk} ({row.failures} in a row): {row.error}"
        for row in await reading.execute(bad)
    ]


async def count_polled(reading: AsyncConnection) -> int:
    """How many services control looks at by itself."""
    polled = select(func.count()).select_from(trunk_heads).where(trunk_heads.c.look_at.is_not(None))
    return int((await reading.execute(polled)).scalar_one())


async def _seen(tx: AsyncConnection, pushes: Pushes, look: Look, sha: CommitSha, rng: Random) -> str | None:
    row = await locked(tx, look.service)
    if row.token != look.token:
        return None
    spec = await get_service(tx, look.service)
    known, subject = head_of(row), None
    if known is None:
        await write_head(tx, look.service, Head(sha))
    elif known.sha != sha:
        subject = await pushes.order(tx, spec, sha, Head(sha, (known.sha,)))
    await _done(tx, look, row.look_at, delay_s(look.every_s, 0, rng), 0, "")
    return subject


async def _done(tx: AsyncConnection, look: Look, look_at: int, delay: float, failures: int, error: str) -> None:
    """End the claim. A webhook that came meanwhile has made the next look due already, and that stays."""
    moved = look_at != look.due_at_ms
    values = {"token": None, "claim_expires_at": None, "failures": failures, "error": error}
    next_at = {} if moved else {"look_at": now_ms() + int(delay * 1000)}
    await tx.execute(update(trunk_heads).where(*_held(look)).values(**values, **next_at))


def _due() -> tuple[ColumnElement[bool], ...]:
    free = or_(trunk_heads.c.token.is_(None), trunk_heads.c.claim_expires_at < now_ms())
    return trunk_heads.c.look_at <= now_ms(), free


def _held(look: Look) -> tuple[ColumnElement[bool], ...]:
    return trunk_heads.c.service == look.service, trunk_heads.c.token == look.token
