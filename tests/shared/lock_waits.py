"""To see on a PostgreSQL server that a transaction waits for another."""

from __future__ import annotations

import asyncio
from typing import Final

from sqlalchemy import text

from fleetcast.stores.database import Database

SOON_S: Final = 20.0
_WAITING: Final = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


async def until_somebody_waits(database: Database) -> None:
    """For any lock of this database. Raises :class:`TimeoutError`."""
    async with asyncio.timeout(SOON_S):
        while True:
            async with database.reading() as reading:
                if (await reading.execute(_WAITING)).scalar_one():
                    return
            await asyncio.sleep(0.01)
