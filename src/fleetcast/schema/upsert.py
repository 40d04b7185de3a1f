"""Insert unless it is there, in the one way that both engines have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


def insert_into(tx: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An ``INSERT`` that knows ``on_conflict_…``, as each engine's own does."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


async def upsert(tx: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]], *, update: Sequence[str]) -> None:
    """Insert ``rows``; where the primary key exists already, set the columns named by ``update`` to the new values.

    All rows name the same columns.
    """
    if not rows:
        return
    insert = insert_into(tx, table)
    statement = insert.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key], set_={name: insert.excluded[name] for name in update}
    )
    await tx.execute(statement, list(rows))
