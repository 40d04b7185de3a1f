"""The door to the SQL database: transactions that write, snapshots that read, the database's own clock.

Which engine is behind it, the URL says: the embedded one (``sqlite_engine.py``) or a PostgreSQL server
(``postgresql_engine.py``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import URL, BigInteger, make_url, select
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from fleetcast.model.errors import Invalid
from fleetcast.stores.locks import Lock

Item = TypeVar("Item")

_LAST: Final = "fleetcast_last"
"""In what SQLAlchemy keeps with a connection: what is written before the commit, by who writes it."""


class Engine(Protocol):
    """What :class:`Database` promises, kept by each engine."""

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]: ...

    def concurrent(self, *locks: Lock) -> AbstractAsyncContextManager[AsyncConnection]: ...

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]: ...

    async def close(self) -> None: ...


class Database:
    """One process's way into the database. Use from the event loop that opened it; close it there."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, url: str) -> Database:
        """Open ``sqlite+aiosqlite:///<path>``, creating the file, or ``postgresql+psycopg://<user>:<password>@<host>/<name>``;
        makes no tables.

        Raises:
            Invalid: a URL of another kind.
            Unavailable: the file cannot be opened, the server does not answer or refuses us.
        """
        parsed = database_url(url)
        if parsed.get_backend_name() == "sqlite":
            from fleetcast.stores.sqlite_engine import SqliteEngine

            return cls(await SqliteEngine.open(parsed))
        # The driver and its library are only there where they are needed.
        from fleetcast.stores.postgresql_engine import PostgresqlEngine

        return cls(await PostgresqlEngine.open(parsed))

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that writes: committed, and on disk, when the block ends; rolled back when it raises.

        Serialised with every other one, whichever process it is in: neither a second one nor a wait for the world belongs
        inside. Raises :class:`Unavailable` when others hold the database for too long, or it cannot be reached.
        """
        return _with_its_last(self._engine.transaction())

    def concurrent(self, *locks: Lock) -> AbstractAsyncContextManager[AsyncConnection]:
        """The same, but it may run beside others of both kinds where the engine can do that.

        So it locks the rows it decides on (``with_for_update``), or says in its ``WHERE`` what it decided on, and holds no
        more than one row that another one could want, or takes ``locks``, in this order, before it begins. Each of its
        statements sees what was committed before it.
        """
        return _with_its_last(self._engine.concurrent(*locks))

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A snapshot: all its reads see one state, which is the newest at the first of them. It cannot write."""
        return self._engine.reading()

    async def close(self) -> None:
        await self._engine.close()


def before_commit(
    tx: AsyncConnection, write: Callable[[AsyncConnection, Sequence[Item]], Awaitable[None]], items: Sequence[Item]
) -> None:
    """Have ``write(tx, items)`` done as the last thing of a transaction, once for all items that it was given for it.

    Raises :class:`RuntimeError` for one that only reads, or is none of :class:`Database`: nothing would be written.
    """
    last = tx.info.get(_LAST)
    if last is None:
        raise RuntimeError("this transaction cannot write: begin it with transaction() or concurrent()")
    last.setdefault(write, []).extend(items)


@asynccontextmanager
async def _with_its_last(begun: AbstractAsyncContextManager[AsyncConnection]) -> AsyncIterator[AsyncConnection]:
    async with begun as tx:
        last: dict[Callable[[AsyncConnection, Sequence[Any]], Awaitable[None]], list[Any]] = {}
        info = tx.info  # asked for now: a connection that broke has none any more
        info[_LAST] = last
        try:
            yield tx
            for write, items in last.items():
                await write(tx, items)
        finally:
            info.pop(_LAST, None)  # it is the connection's, and who has that next may only read


def database_url(url: str) -> URL:
    """``url`` as one of the two kinds that :meth:`Database.open` takes. Raises :class:`Invalid`."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in ("sqlite+aiosqlite", "postgresql+psycopg"):
        raise Invalid(
            "unknown_database",
            "the database URL must be sqlite+aiosqlite:///<path of a file>, "
            "or postgresql+psycopg://<user>:<password>@<host>:<port>/<name>: correct the settings",
        )
    return parsed


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
    # The same for all rows of a statement, so that an index can be used; of a transaction's start it would be too old.
    return "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)"
