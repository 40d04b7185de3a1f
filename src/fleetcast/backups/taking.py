"""Taking a backup of a database and of the global key-value store, while both are worked with.

The tables are one snapshot. The keys are read after it: they are derived from the tables, and control writes what is missing or
older again. A row is on its way at a time, so that memory does not grow with what there is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Final

from sqlalchemy import Connection, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast import __version__
from fleetcast.backups.lines import Footer, Header, Writing
from fleetcast.model.errors import Incompatible, NotFound, Refused
from fleetcast.model.limits import BACKUP_ROWS_AT_ONCE
from fleetcast.schema.plain_tables import Columns, counted_tables, plain_columns, plain_table
from fleetcast.schema.upgrade import revision_of, revisions
from fleetcast.stores.blob_files import sync_directory
from fleetcast.stores.database import Database, read_clock_ms
from fleetcast.stores.kv import Entry, KeyValueStore

_MODE: Final = 0o600


async def take_backup(database: Database, kv: KeyValueStore, path: Path) -> Footer:
    """Write ``path``, readable for its owner only, whole or not at all. Returns what is in it.

    Raises:
        NotFound: the database has no tables.
        Incompatible: a newer program made them.
        Refused: there is such a file already.
        OSError: it cannot be written.
    """
    with _whole(path) as file:
        async with database.reading() as snapshot:
            writing = Writing(file, await _header(snapshot))
            for name, columns in (await snapshot.run_sync(plain_columns)).items():
                writing.table(name)
                async for row in _rows(snapshot, name, columns):
                    writing.row(row)
            last_ids = await snapshot.run_sync(last_ids_of)
        writing.keys()
        async for entry in every_entry(kv):
            writing.key(entry.key, entry.value)
        return writing.end(last_ids)


async def every_entry(kv: KeyValueStore, prefix: str = "") -> AsyncIterator[Entry]:
    """Page by page, in key order. What is written meanwhile may be in it or not."""
    after = ""
    while page := (await kv.page(prefix, after)).entries:
        for entry in page:
            yield entry
        after = page[-1].key


def last_ids_of(connection: Connection) -> dict[str, int]:
    """The highest number that the engine ever gave, of tables for which it remembers that."""
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("SELECT name, seq FROM sqlite_sequence")).all()
        return {name: seq for name, seq in rows if name in counted_tables()}
    there = [name for name in plain_columns(connection) if name in counted_tables()]
    found = {name: connection.execute(text(f"SELECT last_value, is_called FROM {sequence_of(name)}")).one() for name in there}
    return {name: last for name, (last, called) in found.items() if called}


def sequence_of(table: str) -> str:
    """PostgreSQL's name for who counts the rows of ``table``."""
    return f"{table}_id_seq"


async def _header(snapshot: AsyncConnection) -> Header:
    revision, tables = await snapshot.run_sync(revision_of), await snapshot.run_sync(plain_columns)
    if revision is None:
        raise NotFound("no_tables", "the database has no tables: there is nothing to back up before control was started once")
    if revision not in revisions():
        raise Incompatible(
            "newer_tables", f"a newer program has changed the database (to {revision}): take the backup with that one"
        )
    columns = {name: tuple(pairs) for name, pairs in tables.items()}
    return Header(revision, columns, await read_clock_ms(snapshot), __version__)


async def _rows(snapshot: AsyncConnection, name: str, columns: Columns) -> AsyncIterator[list[bool | int | str | None]]:
    table = plain_table(name, columns)
    found = await snapshot.stream(select(*table.columns), execution_options={"yield_per": BACKUP_ROWS_AT_ONCE})
    async for row in found:
        yield list(row)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that is at ``path``, and on the disk, if the block ends well."""
    if path.exists():
        raise Refused("backup_exists", f"there is {path} already: name another file, or move that one away")
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, _MODE)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_directory(path.parent)
    finally:
        draft.unlink(missing_ok=True)
