"""The SQL engine of an installation that outgrew one file: a PostgreSQL server, perhaps behind a pooler.

A pooler that hands out connections by the transaction (pgbouncer) is allowed for: nothing is kept in a session. There are no
prepared statements, no session's settings and no session's locks; what holds for a transaction is said at its begin, in the
same message. Commits wait for the server's disk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final

from sqlalchemy import URL, Connection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from fleetcast.model.errors import Unavailable
from fleetcast.model.limits import (
    POSTGRESQL_CONNECT_S_MAX,
    POSTGRESQL_CONNECTIONS_MAX,
    POSTGRESQL_IDLE_S_MAX,
    POSTGRESQL_SILENCE_S_MAX,
    POSTGRESQL_WAIT_S_MAX,
)
from fleetcast.stores.locks import Lock
from fleetcast.stores.postgresql_errors import is_away, obstacle

_SERIALISED: Final = Lock(0x7772697465)
_BOUNDS: Final = (
    f"SET LOCAL statement_timeout = '{POSTGRESQL_WAIT_S_MAX}s'; SET LOCAL lock_timeout = '{POSTGRESQL_WAIT_S_MAX}s'; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{POSTGRESQL_IDLE_S_MAX}s'"
)
# READ COMMITTED, so that what follows the wait for the lock sees what the one before it wrote.
_TRANSACTION: Final = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_BOUNDS}; {_SERIALISED.taken}"
_CONCURRENT: Final = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_BOUNDS}"
_READING: Final = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_BOUNDS}"
_BEGIN: Final = "fleetcast_begin"


class PostgresqlEngine:
    """Keeps the promises of :class:`~fleetcast.stores.database.Database`."""

    def __init__(self, url: URL, serialised: AsyncEngine, shared: AsyncEngine) -> None:
        self._url = url
        self._serialised = serialised
        self._shared = shared

    @classmethod
    async def open(cls, url: URL) -> PostgresqlEngine:
        """Open ``postgresql+psycopg://…`` and see that it answers. Raises :class:`Unavailable`."""
        # One connection for what is serialised anyway: who waits for its turn then waits here and not in the server.
        engine = cls(url, _engine(url, connections=1), _engine(url, connections=POSTGRESQL_CONNECTIONS_MAX))
        try:
            async with engine.reading() as snapshot:
                await snapshot.exec_driver_sql("SELECT 1")
        except BaseException:
            await engine.close()
            raise
        return engine

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._begun(self._serialised, _TRANSACTION)

    def concurrent(self, *locks: Lock) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._begun(self._shared, "; ".join((_CONCURRENT, *(lock.taken for lock in locks))))

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._begun(self._shared, _READING)

    async def close(self) -> None:
        await self._serialised.dispose()
        await self._shared.dispose()

    @asynccontextmanager
    async def _begun(self, engine: AsyncEngine, begin: str) -> AsyncIterator[AsyncConnection]:
        try:
            async with AsyncExitStack() as opened:
                try:
                    connection = await _begin(opened, engine, begin)
                except DBAPIError as error:
                    if not is_away(error):
                        raise
                    # It was in the pool while the server was restarted: nothing has been asked of it yet.
                    await opened.aclose()
                    connection = await _begin(opened, engine, begin)
                yield connection
        except PoolTimeoutError as error:
            raise Unavailable("database_busy", "the database is busy with other transactions: try again") from error
        except DBAPIError as error:
            found = obstacle(error.orig, self._url, writing=begin is not _READING)
            if found is None:
                raise
            raise found from error


async def _begin(opened: AsyncExitStack, engine: AsyncEngine, begin: str) -> AsyncConnection:
    connection = await opened.enter_async_context(engine.connect())
    await connection.execution_options(**{_BEGIN: begin})
    await opened.enter_async_context(connection.begin())
    return connection


def connect_arguments() -> Mapping[str, Any]:
    """Of the driver, for every connection: no prepared statements, bounds on what the network may swallow."""
    return {
        "prepare_threshold": None,
        "connect_timeout": POSTGRESQL_CONNECT_S_MAX,
        "keepalives_idle": POSTGRESQL_SILENCE_S_MAX,
        "keepalives_interval": POSTGRESQL_SILENCE_S_MAX // 3,
        "keepalives_count": 3,
        "tcp_user_timeout": POSTGRESQL_SILENCE_S_MAX * 1000,
        "application_name": "fleetcast",
    }


def _engine(url: URL, *, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POSTGRESQL_WAIT_S_MAX,
        use_native_hstore=False,
        # The driver begins nothing by itself: what is to be said at a begin goes with it.
        connect_args={**connect_arguments(), "autocommit": True},
    )

    @event.listens_for(engine.sync_engine, "begin")
    def _say(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options()[_BEGIN])

    return engine
