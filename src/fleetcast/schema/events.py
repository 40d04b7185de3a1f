"""Writing down what happened, in the transaction that makes it happen.

A reader goes on from the last id it saw, so no smaller one may become visible later: ids are in the order of commits. SQLite
has one writer, which gives that. PostgreSQL's sequence hands out ids before the commit, and two transactions could commit the
other way round: there the writers of events wait for each other from their first id to their commit. So that this is short,
a transaction writes its events last of all, and waits for nothing after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.event import EventKind
from fleetcast.model.limits import EVENT_TEXT_CHARS_MAX
from fleetcast.schema.tables import events
from fleetcast.stores.database import before_commit, now_ms
from fleetcast.stores.locks import Lock, take_lock

_TURN: Final = Lock(0x6576656E74)
_ADD: Final = insert(events).values(at=now_ms()).inline()

Row = dict[str, str]


def record_event(
    tx: AsyncConnection, kind: EventKind, subject: object, *, service: str = "", state: str = "", text: str = ""
) -> None:
    """Add an event about ``subject`` (an id or a name) as part of ``tx``, when that ends: until then not even ``tx`` sees it.

    ``tx``: of :class:`~fleetcast.stores.database.Database`. ``text`` is cut to ``EVENT_TEXT_CHARS_MAX``.
    """
    row = {"kind": kind, "service": service, "subject": str(subject), "state": state, "text": text[:EVENT_TEXT_CHARS_MAX]}
    before_commit(tx, _write, [row])


async def _write(tx: AsyncConnection, rows: Sequence[Row]) -> None:
    await take_lock(tx, _TURN)
    await tx.execute(_ADD, rows)
