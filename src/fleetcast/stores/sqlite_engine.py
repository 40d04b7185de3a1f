"""The embedded SQL engine: one SQLite file.

SQLite has one writer at a time. Inside a process writers queue for the one writing connection (first come, first served,
which SQLite's own lock is not); between processes ``BEGIN IMMEDIATE`` waits, so a transaction that has begun never fails for
having read too early.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from fleetcast.model.errors import Invalid, Unavailable
from fleetcast.model.limits import DATABASE_READERS_MAX, SQLITE_BUSY_S_MAX
from fleetcast.stores import sqlite_file
from fleetcast.stores.locks import Lock

_PRAGMAS: Final = ("PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")


class SqliteEngine:
    """Keeps the promises of :class:`~fleetcast.stores.database.Database`."""

    def __init__(self, writing: AsyncEngine, reading: AsyncEngine) -> None:
        self._writing = writing
        self._reading = reading

    @classmethod
    async def open(cls, url: URL) -> SqliteEngine:
        """Open ``sqlite+aiosqlite:///<path>``, creating the file. Raises :class:`Invalid` and :class:`Unavailable`."""
        if url.drivername != "sqlite+aiosqlite" or url.database in (None, "", ":memory:"):
            raise Invalid(
                "unknown_database", "the URL of a SQLite database is sqlite+aiosqlite:///<path of a file>: correct the settings"
            )
        (await asyncio.to_thread(sqlite_file.connect, Path(str(url.database)))).close()
        return cls(
            writing=_engine(url, begin="BEGIN IMMEDIATE", pragmas=_PRAGMAS, connections=1),
            reading=_engine(url, begin="BEGIN", pragmas=(*_PRAGMAS, "PRAGMA query_only=ON"), connections=DATABASE_READERS_MAX),
        )

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return _transaction(self._writing, writing=True)

    def concurrent(self, *locks: Lock) -> AbstractAsyncContextManager[AsyncConnection]:  # noqa: ARG002 -- it has one writer
        return self.transaction()

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return _transaction(self._reading, writing=False)

    async def close(self) -> None:
        await self._writing.dispose()
        await self._reading.dispose()


def _engine(url: URL, *, begin: str, pragmas: tuple[str, ...], connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=SQLITE_BUSY_S_MAX,
        connect_args={"timeout": SQLITE_BUSY_S_MAX, "isolation_level": None},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _set_up(connection: Any, record: Any) -> None:  # noqa: ARG001 -- the event's signature
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@asynccontextmanager
async def _transaction(engine: AsyncEngine, *, writing: bool) -> AsyncIterator[AsyncConnection]:
    try:
        async with engine.begin() as connection:
            yield connection
    except PoolTimeoutError as error:
        raise Unavailable("database_busy", "the database is busy with other transactions: try again") from error
    except DBAPIError as error:
        if sqlite_file.is_busy(error.orig):
            raise Unavailable("database_busy", "the database is locked by another process: try again") from error
        if (obstacle := sqlite_file.obstacle(error.orig, writing=writing)) is not None:
            raise obstacle from error
        raise
