"""The embedded key-value store: a SQLite file, shared by processes of one machine.

A row a key, with the revision that wrote it; a deletion leaves a row without a value until compaction. So what changed after
a revision is an index scan, history never holds an old value, and it is bounded by ``compact``.

All SQL of a store runs on its one thread, a function a transaction: two coroutines never share one.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from fleetcast.model.errors import Compacted, Conflict, Invalid, Unavailable
from fleetcast.model.limits import (
    KV_CHANGES_BYTES_MAX,
    KV_CHANGES_MAX,
    KV_LOOK_INTERVAL_S,
    KV_PAGE_ENTRIES_MAX,
    KV_WAIT_S_MAX,
)
from fleetcast.stores import sqlite_file
from fleetcast.stores.kv import Change, Changes, Entry, KeyValueStore, Snapshot
from fleetcast.stores.kv_keys import check_write, encoded, end_of

P = ParamSpec("P")
R = TypeVar("R")

_TABLES = """
CREATE TABLE IF NOT EXISTS store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL,
    compacted INTEGER NOT NULL
);
INSERT OR IGNORE INTO store VALUES (1, 0, 0);
CREATE TABLE IF NOT EXISTS entries (
    key BLOB PRIMARY KEY,
    value BLOB,
    mod_revision INTEGER NOT NULL,
    version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_revision ON entries (mod_revision);
"""


class SqliteKv(KeyValueStore):
    """Use from the event loop that opened it; close it there. Raises :class:`Unavailable` when the file fails."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._thread = thread
        self._closed = False
        self._seen = 0
        """The highest revision this process knows of; who waits compares it with the one it has read at."""
        self._risen = asyncio.Event()
        """Replaced by a new one each time ``_seen`` rises."""
        self._waiting = 0
        self._looking: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path) -> SqliteKv:
        """Open the store in ``path``, creating the file. Raises :class:`Unavailable`."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kv")
        try:
            connection = await asyncio.get_running_loop().run_in_executor(thread, _open, path)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(connection, thread)

    async def get(self, key: str) -> Entry | None:
        return await self._run(_get, encoded(key))

    async def range(self, prefix: str) -> Snapshot:
        return await self._run(_range, encoded(prefix))

    async def page(self, prefix: str, after: str = "") -> Snapshot:
        return await self._run(_range, encoded(prefix), encoded(after), KV_PAGE_ENTRIES_MAX)

    async def put(self, key: str, value: bytes, *, expected: int | None = None) -> int:
        check_write(key, value)
        revision = await self._run(_write, encoded(key), value, expected)
        assert revision is not None
        self._rise(revision)
        return revision

    async def delete(self, key: str, *, expected: int | None = None) -> int | None:
        revision = await self._run(_write, encoded(key), None, expected)
        self._rise(revision or 0)
        return revision

    async def changes(self, prefix: str, after: int, *, wait_s: float = 0.0) -> Changes:
        deadline = time.monotonic() + min(wait_s, KV_WAIT_S_MAX)
        while True:
            found = await self._run(_changes, encoded(prefix), after)
            left = deadline - time.monotonic()
            if found.changes or left <= 0:
                return found
            await self._risen_above(found.revision, left)
            after = found.revision

    async def compact(self, through: int) -> None:
        await self._run(_compact, through)

    async def close(self) -> None:
        """Whoever waits for changes gets :class:`Unavailable`."""
        if self._closed:
            return
        self._closed = True
        self._wake()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    async def _run(self, function: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **named: P.kwargs) -> R:
        if self._closed:
            raise Unavailable("kv_closed", "this key-value store is closed: the process is about to end")

        def call() -> R:
            with _sqlite_errors():
                return function(self._connection, *args, **named)

        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _risen_above(self, revision: int, left_s: float) -> None:
        """Wait until this process knows of a revision above, the store is closed, or the time is over."""
        self._waiting += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    while self._seen <= revision and not self._closed:
                        await self._risen.wait()
        finally:
            self._waiting -= 1

    async def _look(self) -> None:
        """While somebody waits: find out about the writes of other processes."""
        try:
            while self._waiting and not self._closed:
                await asyncio.sleep(KV_LOOK_INTERVAL_S)
                with suppress(Unavailable):  # who waits asks for itself in the end, and is told
                    self._rise(await self._run(_revision))
        finally:
            self._looking = None

    def _rise(self, revision: int) -> None:
        if revision > self._seen:
            self._seen = revision
            self._wake()

    def _wake(self) -> None:
        self._risen.set()
        self._risen = asyncio.Event()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite_file.connect(path)
    try:
        with _sqlite_errors(), _transaction(connection, "BEGIN IMMEDIATE"):
            for statement in _TABLES.split(";"):
                connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


def _get(connection: sqlite3.Connection, key: bytes) -> Entry | None:
    row = connection.execute(
        "SELECT key, value, mod_revision, version FROM entries WHERE key = ? AND value IS NOT NULL", (key,)
    ).fetchone()
    return None if row is None else Entry(row[0].decode(), row[1], row[2], row[3])


def _range(connection: sqlite3.Connection, prefix: bytes, after: bytes = b"", entries_max: int = -1) -> Snapshot:
    with _transaction(connection, "BEGIN"):
        revision = _revision(connection)
        rows = connection.execute(
            "SELECT key, value, mod_revision, version FROM entries"
            " WHERE key >= ? AND key > ? AND key < ? AND value IS NOT NULL ORDER BY key LIMIT ?",
            (prefix, after, end_of(prefix), entries_max),
        )
        return Snapshot(revision, tuple(Entry(key.decode(), value, written, version) for key, value, written, version in rows))


def _write(connection: sqlite3.Connection, key: bytes, value: bytes | None, expected: int | None) -> int | None:
    with _transaction(connection, "BEGIN IMMEDIATE"):
        row = connection.execute(
            "SELECT mod_revision, version FROM entries WHERE key = ? AND value IS NOT NULL", (key,)
        ).fetchone()
        found, version = row or (0, 0)
        if expected is not None and expected != found:
            raise Conflict("revision_conflict", f"{key.decode()} is at revision {found}, not {expected}: read it again")
        if value is None and not found:
            return None
        revision = int(connection.execute("UPDATE store SET revision = revision + 1 RETURNING revision").fetchall()[0][0])
        connection.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE"
            " SET value = excluded.value, mod_revision = excluded.mod_revision, version = excluded.version",
            (key, value, revision, 0 if value is None else version + 1),
        )
        return revision


def _changes(connection: sqlite3.Connection, prefix: bytes, after: int) -> Changes:
    """One answer's worth; its revision is the last change's when there is more."""
    with _transaction(connection, "BEGIN"):
        revision, compacted = connection.execute("SELECT revision, compacted FROM store").fetchone()
        if not compacted <= after <= revision:
            text = f"history goes from revision {compacted} to {revision}, not from {after}: take a snapshot, go on from there"
            raise Compacted("compacted", text)
        # The plus keeps SQLite to the index by revision: what is new is little, what a prefix holds may be much.
        rows = connection.execute(
            "SELECT key, value, mod_revision FROM entries"
            " WHERE mod_revision > ? AND +key >= ? AND +key < ? ORDER BY mod_revision",
            (after, prefix, end_of(prefix)),
        )
        changes: list[Change] = []
        size = 0
        for key, value, written in rows:
            size += len(value or b"")
            if changes and (size > KV_CHANGES_BYTES_MAX or len(changes) == KV_CHANGES_MAX):
                return Changes(changes[-1].mod_revision, tuple(changes))
            changes.append(Change(key.decode(), value, written))
        return Changes(revision, tuple(changes))


def _compact(connection: sqlite3.Connection, through: int) -> None:
    with _transaction(connection, "BEGIN IMMEDIATE"):
        revision, compacted = connection.execute("SELECT revision, compacted FROM store").fetchone()
        if through > revision:
            raise Invalid("future_revision", f"revision {through} is yet to come, the store is at {revision}: compact less")
        if through > compacted:
            connection.execute("DELETE FROM entries WHERE value IS NULL AND mod_revision <= ?", (through,))
            connection.execute("UPDATE store SET compacted = ?", (through,))


def _revision(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT revision FROM store").fetchone()[0])


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself when the disk is full
            connection.execute("ROLLBACK")
        raise
    try:
        connection.execute("COMMIT")
    except sqlite3.Error:
        # A disk that is full may leave it open, and then nothing could begin any more.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _sqlite_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if sqlite_file.is_busy(error):
            raise Unavailable("kv_busy", "the key-value store is locked by another process: try again") from error
        if (obstacle := sqlite_file.obstacle(error)) is not None:
            raise obstacle from error
        raise Unavailable("kv_unusable", f"the key-value store cannot be used: {error}: look after its file") from error
