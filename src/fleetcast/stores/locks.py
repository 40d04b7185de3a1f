"""Locks of a transaction that are of no row: PostgreSQL's advisory ones. The embedded engine has one writer, and needs none.

Each is held until its transaction ends, so a pooler by the transaction may stand in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Lock:
    """``number`` means nothing; it has to be this lock's alone. Holders of a ``shared`` one wait only for one that is not."""

    number: int
    shared: bool = False

    @property
    def taken(self) -> str:
        """The statement that waits for it."""
        return f"SELECT pg_advisory_xact_lock{'_shared' if self.shared else ''}({self.number})"


async def take_lock(tx: AsyncConnection, lock: Lock) -> None:
    """Wait until nobody else holds ``lock``. Taken again by who has it, it changes nothing."""
    if tx.dialect.name == "postgresql":
        await tx.exec_driver_sql(lock.taken)
