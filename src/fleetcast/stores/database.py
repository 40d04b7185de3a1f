"""The door to the SQL database: transactions that write, snapshots that read, the database's own clock.

SQLite has one writer at a time. Inside a process writers queue for the one writing connection (first come, first served,
which SQLite's own lock is not); between processes ``BEGIN IMMEDIATE`` waits, so a transaction that has begun never fails for
having read too early.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Connection, event, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from fleetcast.model.errors import Invalid, Unavailable
from fleetcast.model.limits import DATABASE_READERS_MAX, SQLITE_BUSY_S_MAX
from fleetcast.stores import sqlite_file


class Database:
    """One process's way into the database. Use from the event loop that opened it; close it there."""

    def __init__(self, writing: AsyncEngine, reading: AsyncEngine) -> None:
        self._writing = writing
        self._reading = reading

    @classmethod
    async def open(cls, url: str) -> Database:
        """Open ``sqlite+aiosqlite:///<path>``, creating the file; makes no tables.

        Raises:
            Invalid: a URL of another kind.
            Unavailable: the file cannot be opened.
        """
        path = _sqlite_path(url)
        (await asyncio.to_thread(sqlite_file.connect, path)).close()
        return cls(
            writing=_engine(url, begin="BEGIN IMMEDIATE", pragmas=_PRAGMAS, connections=1),
            reading=_engine(url, begin="BEGIN", pragmas=(*_PRAGMAS, "PRAGMA query_only=ON"), connections=DATABASE_READERS_MAX),
        )

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that writes: committed, and on disk, when the block ends; rolled back when it raises.

        Serialised with every other one: neither a second one nor a wait for the world belongs inside. Raises
        :class:`Unavailable` when others hold the database for longer than ``SQLITE_BUSY_S_MAX``.
        """
        return _transaction(self._writing, writing=True)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A snapshot: all its reads see one state, which is the newest at the first of them. It cannot write."""
        return _transaction(self._reading, writing=False)

    async def close(self) -> None:
        await self._writing.dispose()
        await self._reading.dispose()


class _Now(FunctionElement[int]):
    type = BigInteger()
    name = "now_ms"
    inherit_cache = True


def now_ms() -> ColumnElement[int]:
    """SQL expression: the database's clock, UTC, milliseconds since 1970 as BIGINT (law 1: no process's clock counts)."""
    return _Now()


async def read_clock_ms(connection: AsyncConnection) -> int:
    """What :func:`now_ms` is at the moment."""
    return int((await connection.execute(select(now_ms()))).scalar_one())


@compiles(_Now, "sqlite")
def _now_sqlite(element: _Now, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ARG001 -- the compiler's signature
    # A Julian day as a double is exact to 0.05 ms; unixepoch('subsec') is younger than the SQLite we accept.
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)"


@compiles(_Now, "postgresql")
def _now_postgresql(element: _Now, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ARG001 -- the compiler's signature
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


_PRAGMAS = ("PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")


def _sqlite_path(url: str) -> Path:
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.drivername != "sqlite+aiosqlite" or parsed.database in (None, "", ":memory:"):
        raise Invalid("unknown_database", "the database URL must be sqlite+aiosqlite:///<path of a file>: correct the settings")
    return Path(str(parsed.database))


def _engine(url: str, *, begin: str, pragmas: tuple[str, ...], connections: int) -> AsyncEngine:
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
