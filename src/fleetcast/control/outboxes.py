"""Outboxes: what others are to be told of events, in SQL, until it has arrived. What their tables have in common.

Events are read behind a cursor that all control processes share. A row is claimed with a lease by the database's clock and a
token (law 1), in the columns ``token`` and ``claim_expires_at``; ``send_at`` says when it is due, NULL that it is not.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.schema.columns import AnyRow
from fleetcast.schema.push_tables import event_cursors
from fleetcast.schema.tables import events
from fleetcast.schema.upsert import insert_into
from fleetcast.stores.database import Database, now_ms

Put = Callable[[AsyncConnection, Sequence[AnyRow]], Awaitable[None]]
"""Takes events, oldest first, into an outbox."""


async def read_on(database: Database, reader: str, at_most: int, put: Put, *, since: int | None = None) -> bool:
    """Hand the next ``at_most`` events to ``put``, in one transaction with the cursor of ``reader``. Returns whether there may
    be more.

    ``since``: it goes on behind this event at least. ``None``: the first time it begins behind the newest.
    """
    async with database.reading() as reading:
        newest = (await reading.execute(select(func.max(events.c.id)))).scalar_one() or 0
        reached = (await reading.execute(_cursor(reader))).scalar_one_or_none()
    if reached is not None and max(reached, since or 0) >= newest:
        return False
    async with database.transaction() as tx:
        begin = insert_into(tx, event_cursors).values(reader=reader, event_id=newest if since is None else since)
        await tx.execute(begin.on_conflict_do_nothing())
        reached = (await tx.execute(_cursor(reader).with_for_update())).scalar_one()
        behind = events.c.id > max(reached, since or 0)
        rows = (await tx.execute(select(events).where(behind).order_by(events.c.id).limit(at_most))).all()
        if not rows:
            return False
        await put(tx, rows)
        await tx.execute(update(event_cursors).where(event_cursors.c.reader == reader).values(event_id=rows[-1].id))
    return len(rows) == at_most


async def claim(
    database: Database, table: Table, *where: ColumnElement[bool], order: ColumnElement[Any], at_once: int, lease_s: float
) -> Sequence[AnyRow]:
    """Up to ``at_once`` rows that are due, the first by ``order``, with the token they are claimed with."""
    due = select(table.c.id).where(is_due(table), *where).order_by(order).limit(at_once)
    async with database.reading() as reading:
        if (await reading.execute(due.limit(1))).one_or_none() is None:
            return ()
    claimed = (
        update(table)
        .where(table.c.id.in_(due.with_for_update(skip_locked=True)))
        .values(token=secrets.token_hex(16), claim_expires_at=now_ms() + int(lease_s * 1000))
        .returning(table)
    )
    async with database.transaction() as tx:
        rows: Sequence[AnyRow] = (await tx.execute(claimed)).all()
    return rows


async def end_claim(tx: AsyncConnection, table: Table, row: int, token: str, **values: Any) -> bool:
    """Give a row back with what came of it. Returns whether it was still ours."""
    ours = update(table).where(table.c.id == row, table.c.token == token)
    return (await tx.execute(ours.values(token=None, claim_expires_at=None, **values))).rowcount > 0


def is_due(table: Table) -> ColumnElement[bool]:
    """Whether a row is to be sent, and nobody is doing so."""
    return and_(table.c.send_at <= now_ms(), or_(table.c.token.is_(None), table.c.claim_expires_at < now_ms()))


def backoff_s(failures: int, rng: Random, *, at_least_s: float, at_most_s: float) -> float:
    """Seconds to wait after ``failures`` (from 1) in a row: doubles, with jitter, so that what failed together is not sent
    together."""
    return float(min(at_most_s, at_least_s * 2.0 ** min(failures - 1, 16)) * rng.uniform(0.5, 1.0))


def _cursor(reader: str) -> Any:
    return select(event_cursors.c.event_id).where(event_cursors.c.reader == reader)
