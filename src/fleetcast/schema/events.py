"""Writing down what happened, in the transaction that makes it happen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.event import EventKind
from fleetcast.model.limits import EVENT_TEXT_CHARS_MAX
from fleetcast.schema.tables import events
from fleetcast.stores.database import now_ms

_LOCK: Final = 0x6576656E74  # an advisory lock's number means nothing; it has to be ours alone


@dataclass(frozen=True, slots=True)
class NewEvent:
    """As :func:`record_event` takes it. ``at_ms``: the database's clock."""

    kind: EventKind
    subject: object
    at_ms: int
    service: str = ""
    state: str = ""
    text: str = ""


async def record_events(tx: AsyncConnection, news: Sequence[NewEvent]) -> None:
    """Add many events at once, in this order; otherwise as :func:`record_event`."""
    if not news:
        return
    await in_turn(tx)
    rows = [
        {
            "at": one.at_ms,
            "kind": one.kind,
            "service": one.service,
            "subject": str(one.subject),
            "state": one.state,
            "text": one.text[:EVENT_TEXT_CHARS_MAX],
        }
        for one in news
    ]
    await tx.execute(insert(events), rows)


async def record_event(
    tx: AsyncConnection, kind: EventKind, subject: object, *, service: str = "", state: str = "", text: str = ""
) -> None:
    """Add an event about ``subject`` (an id or a name) as part of ``tx``. ``text`` is cut to ``EVENT_TEXT_CHARS_MAX``.

    A reader goes on from the last id it saw, so no smaller one may become visible later: ids are in the order of commits.
    SQLite has one writer, which gives that. Elsewhere a sequence hands out ids before the commit, and two transactions could
    commit the other way round: there the writers of events wait for each other from here to their commits.
    """
    await in_turn(tx)
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


async def in_turn(tx: AsyncConnection) -> None:
    """Wait, on an engine that has several writers, until every other transaction that came this far has ended."""
    if tx.dialect.name == "postgresql":
        await tx.execute(select(func.pg_advisory_xact_lock(_LOCK)))
