"""Writing down what happened, in the transaction that makes it happen."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.event import EventKind
from fleetcast.model.limits import EVENT_TEXT_CHARS_MAX
from fleetcast.schema.tables import events
from fleetcast.stores.database import now_ms

_LOCK: Final = 0x6576656E74  # an advisory lock's number means nothing; it has to be ours alone


async def record_event(
    tx: AsyncConnection, kind: EventKind, subject: object, *, service: str = "", state: str = "", text: str = ""
) -> None:
    """Add an event about ``subject`` (an id or a name) as part of ``tx``. ``text`` is cut to ``EVENT_TEXT_CHARS_MAX``.

    A reader goes on from the last id it saw, so no smaller one may become visible later: ids are in the order of commits.
    SQLite has one writer, which gives that. Elsewhere a sequence hands out ids before the commit, and two transactions could
    commit the other way round: there the writers of events wait for each other from here to their commits.
    """
    await _in_turn(tx)
    await tx.execute(
        insert(events).values(
            at=now_ms(),
            kind=kind,
            service=service,
            subject=str(subject),
            state=state,
            text=text[:EVENT_TEXT_CHARS_MAX],
        )
    )


async def _in_turn(tx: AsyncConnection) -> None:
    if tx.dialect.name == "postgresql":
        await tx.execute(select(func.pg_advisory_xact_lock(_LOCK)))
