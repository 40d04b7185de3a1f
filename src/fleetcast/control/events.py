"""Events as people read them, and how many are kept."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.http import cursors
from fleetcast.model.errors import Compacted
from fleetcast.model.event import Event
from fleetcast.model.limits import EVENTS_KEPT_MAX, EVENTS_KEPT_S
from fleetcast.model.messages.events import EventPage
from fleetcast.schema.tables import events
from fleetcast.stores.database import now_ms

NEWEST: Final = "newest"
"""The cursor behind everything that has happened so far."""
PLACE: Final = rf"^([0-9]{{1,18}}|{NEWEST})?$"
"""What a cursor looks like."""


async def read_events(reading: AsyncConnection, after: str, limit: int, service: str | None = None) -> EventPage:
    """Up to ``limit`` events behind the cursor ``after``, oldest first; empty: from the oldest that is kept.

    Raises:
        Unprocessable: ``after`` is no event's id.
        Compacted: events behind ``after`` are not kept any more.
    """
    bounds = (await reading.execute(select(func.min(events.c.id), func.max(events.c.id)))).one()
    oldest, newest = bounds[0] or 0, bounds[1] or 0
    place = newest if after == NEWEST else _place(after)
    if after and place < oldest - 1:
        raise Compacted("events_forgotten", f"events behind {after} are forgotten, the oldest is {oldest}: leave out `after`")
    rows = select(events).where(events.c.id > place).order_by(events.c.id).limit(limit)
    if service is not None:
        rows = rows.where(events.c.service == service)
    items = tuple(
        Event(row.id, row.at, row.kind, row.service, row.subject, row.state, row.text) for row in await reading.execute(rows)
    )
    # Behind the last page is the newest of all: a reader of a quiet service does not fall behind what is kept.
    reached = items[-1].id if len(items) == limit else max(newest, place)
    return EventPage(items, str(reached))


async def forget_events(tx: AsyncConnection, *, kept_s: float = EVENTS_KEPT_S, kept_max: int = EVENTS_KEPT_MAX) -> int:
    """Forget the oldest: those above ``kept_max``, and those of longer ago than ``kept_s``. Returns how many."""
    newest = (await tx.execute(select(func.max(events.c.id)))).scalar_one() or 0
    # From the oldest on, so that it ends at the first that stays.
    young = select(events.c.id).where(events.c.at >= now_ms() - int(kept_s * 1000)).order_by(events.c.id).limit(1)
    first_young = (await tx.execute(young)).scalar_one_or_none() or newest + 1
    return (await tx.execute(delete(events).where(events.c.id < max(first_young, newest - kept_max + 1)))).rowcount


def _place(after: str) -> int:
    if not after:
        return 0
    if not (after.isascii() and after.isdigit() and int(after[:20]) < 2**63):
        raise cursors.illegal(after)
    return int(after)
