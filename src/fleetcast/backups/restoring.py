"""Putting a backup into a database: everything of it is verified before anything is written, and all of it or nothing is there
afterwards.

The tables are made as they were when the backup was taken, filled, compared with the backup, and then brought to those of
today, in one transaction. While it lasts no control process can start on this database; one that runs is refused (see
``running``), and would end by itself if it were not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, MetaData, Table, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError

from fleetcast.backups.lines import Footer, Header, Reading, Summing, Sums, row_line
from fleetcast.backups.taking import sequence_of
from fleetcast.model.errors import Corrupt, Incompatible, NotFound, Refused
from fleetcast.model.limits import BACKUP_ROWS_AT_ONCE, CONTROL_SEEN_S_MAX, RESTORE_WAIT_S_MAX
from fleetcast.schema.installation_tables import control_processes, origins
from fleetcast.schema.plain_tables import counted_tables, plain_columns, plain_table
from fleetcast.schema.tables import goals
from fleetcast.schema.upgrade import bound_waits, revision_of, revisions, schema_transaction, upgrade
from fleetcast.stores.database import now_ms

_OF_ITS_OWN: Final = (control_processes.name, origins.name)
"""Tables that say nothing of whether a database is in use."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A backup that was read from end to end."""

    path: Path
    header: Header
    footer: Footer

    @property
    def rows(self) -> int:
        return sum(sums.count for sums in self.footer.tables.values())

    def entries(self) -> Iterator[tuple[str | None, Any]]:
        """As :meth:`Reading.entries`. Raises :class:`Corrupt` where it is not what it was."""
        with open(self.path, "rb") as file:
            reading = Reading(file, str(self.path))
            yield from reading.entries()
            if reading.footer != self.footer:
                raise Corrupt("damaged_backup", f"{self.path} was changed while it was read: restore again")


def verified(path: Path) -> Verified:
    """Raises :class:`NotFound`, :class:`Invalid` and :class:`Incompatible` for a file that is none, :class:`Corrupt` for one
    that is damaged.
    """
    try:
        with open(path, "rb") as file:
            reading = Reading(file, str(path))
            for _ in reading.entries():
                pass
    except FileNotFoundError:
        raise NotFound("no_backup", f"there is no file {path}: check the path") from None
    assert reading.footer is not None
    if reading.header.schema not in revisions():
        raise Incompatible(
            "newer_backup",
            f"{path} is of tables that this program does not know: restore it with the newer one, {reading.header.version}",
        )
    return Verified(path, reading.header, reading.footer)


def restore_tables(address: str, backup: Verified, *, replace: bool, afterwards: Callable[[Connection, int], None]) -> None:
    """Fill the database at the URL ``address``. ``replace``: what is in it goes. ``afterwards`` is called in the same
    transaction, once the tables are those of today, with the highest epoch of a goal that was there before. Blocking.

    Raises:
        Refused: the database is in use, or not empty.
        Unavailable: it cannot be reached, or others do not let go of its tables.
        Corrupt: what was written is not what is there.
    """
    with schema_transaction(address) as connection:
        bound_waits(connection, RESTORE_WAIT_S_MAX)
        running_refused(connection)
        if not replace and (full := rows_there(connection)):
            raise Refused(
                "not_empty",
                f"the database has something in it already ({full}): use a new one, or say --replace to lose what is there",
            )
        epoch = _highest_epoch(connection)
        _clear(connection)
        upgrade(connection, backup.header.schema)
        _fill(connection, backup)
        found = {name: sums_of(connection, name) for name in backup.header.tables}
        if found != backup.footer.tables:
            differing = ", ".join(sorted(name for name in found if found[name] != backup.footer.tables[name]))
            raise Corrupt(
                "not_restored", f"what the database gives back of {differing} is not what was written: nothing is kept"
            )
        upgrade(connection)
        set_last_ids(connection, backup.footer.last_ids)
        afterwards(connection, epoch)


def running(connection: Connection) -> Sequence[str]:
    """Control processes that work on this database, or did so a moment ago: where, and when they were last heard of."""
    if not inspect(connection).has_table(control_processes.name):
        return ()
    seen = select(control_processes.c.place, control_processes.c.seen_at, now_ms().label("now"))
    fresh = seen.where(control_processes.c.seen_at > now_ms() - CONTROL_SEEN_S_MAX * 1000)
    return [f"{row.place} ({max(0, row.now - row.seen_at) // 1000} s ago)" for row in connection.execute(fresh)]


def running_refused(connection: Connection) -> None:
    """Raises :class:`Refused` where :func:`running` finds one."""
    if places := running(connection):
        raise Refused(
            "control_running",
            f"control runs on this database, or did a moment ago: {', '.join(places)}: stop it, wait {CONTROL_SEEN_S_MAX} s, "
            "and do this again then",
        )


def sums_of(connection: Connection, name: str) -> Sums:
    """What is in a table, to be compared with what ought to be."""
    columns = plain_columns(connection)[name]
    summing = Summing()
    # Of this statement alone: as the connection's, it would have a cursor declared for every other one too.
    streamed = {"yield_per": BACKUP_ROWS_AT_ONCE}
    for row in connection.execute(select(*plain_table(name, columns).columns), execution_options=streamed):
        summing.add(row_line(list(row)))
    return summing.sums()


def set_last_ids(connection: Connection, last: Mapping[str, int], *, ahead: int = 0) -> None:
    """The next number of each table is above ``last`` and what it has by now, by ``ahead`` more."""
    for name in counted_tables():
        table = plain_table(name, (("id", "int"),))
        highest = connection.execute(select(func.max(table.c.id))).scalar_one() or 0
        number = max(highest, last.get(name, 0)) + ahead
        if connection.dialect.name == "postgresql":
            if number:
                connection.execute(text("SELECT setval(:sequence, :number)"), {"sequence": sequence_of(name), "number": number})
        else:
            # A table that does not count for itself has no row there, and needs none.
            counted = {"number": number, "name": name}
            if connection.execute(text("UPDATE sqlite_sequence SET seq = :number WHERE name = :name"), counted).rowcount == 0:
                connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)"), counted)


def _fill(connection: Connection, backup: Verified) -> None:
    table: Table | None = None
    batch: list[dict[str, Any]] = []
    for name, row in backup.entries():
        if table is None or name != table.name or len(batch) == BACKUP_ROWS_AT_ONCE:
            _insert(connection, table, batch)
            batch = []
        if name is None:
            continue  # keys have their own way
        if table is None or name != table.name:
            table = plain_table(name, backup.header.tables[name])
        batch.append(dict(zip(table.columns.keys(), row, strict=True)))
    _insert(connection, table, batch)


def _insert(connection: Connection, table: Table | None, batch: Sequence[Mapping[str, Any]]) -> None:
    if table is not None and batch:
        try:
            connection.execute(insert(table), batch)
        except DBAPIError as error:
            if "0x00" in str(error.orig) or "NUL" in str(error.orig):
                raise Refused(
                    "text_not_kept", f"a text in {table.name} has a NUL in it, which PostgreSQL does not keep"
                ) from error
            raise


def rows_there(connection: Connection) -> str:
    """What is in a database, in a few words; empty: nothing that would be missed."""
    found = []
    for name in plain_columns(connection):
        if name not in _OF_ITS_OWN:
            count = connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            found += [f"{count} {name.replace('_', ' ')}"] if count else []
    return ", ".join(found[:3])


def _highest_epoch(connection: Connection) -> int:
    if not inspect(connection).has_table(goals.name):
        return 0
    return connection.execute(select(func.max(goals.c.epoch))).scalar_one() or 0


def _clear(connection: Connection) -> None:
    """Whatever is in the database: tables of ours, and the views of them."""
    looking = inspect(connection)
    revision = revision_of(connection)
    if revision is None and not looking.get_table_names():
        return
    if revision is None:
        raise Refused("not_ours", "the database has tables that are not Fleetcast's: use one of its own")
    for view in looking.get_view_names():
        connection.execute(text(f"DROP VIEW {view}"))
    there = MetaData()
    there.reflect(connection)
    there.drop_all(connection)
