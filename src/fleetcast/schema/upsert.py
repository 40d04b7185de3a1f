"""Insert or update, in the one way that both engines have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


async def upsert(tx: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]], *, update: Sequence[str]) -> None:
    """Insert ``rows``; where the primary key exists already, set the columns named by ``update`` to the new values.

    All rows name the same columns.
    """
    if not rows:
        return
    insert = postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)
    statement = insert.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key], set_={name: insert.excluded[name] for name in update}
    )
    await tx.execute(statement, list(rows))
