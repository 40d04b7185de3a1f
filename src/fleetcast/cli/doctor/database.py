"""Control's database: whether it lets us in, is one that we can use, has our time, and tables of this version."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleetcast.cli.doctor.checks import Check, answering, fail, is_there, ok, warn
from fleetcast.cli.doctor.clocks import behind_s, clock
from fleetcast.model.errors import FleetcastError

if TYPE_CHECKING:
    from fleetcast.launch.settings import Settings

VERSION_MIN: Final = 14
"""Of PostgreSQL: the oldest that its makers still kept when this was written."""
SQLITE_VERSION_MIN: Final = (3, 35)
_SQLITE: Final = "sqlite"
_LOOK_S_MAX: Final = 5
_BYTEWISE: Final = ("C", "POSIX", "C.UTF-8", "C.utf8")
_ABOUT: Final = (
    "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby, datcollate AS collation, "
    "current_setting('synchronous_commit') AS commits, "
    "coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create, "
    "(SELECT min(tableowner::text) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'alembic_version' "
    "AND NOT pg_has_role(tableowner, 'USAGE')) AS foreign_owner, "
    "current_setting('max_connections')::int - (SELECT count(*) FROM pg_stat_activity) AS free "
    "FROM pg_database WHERE datname = current_database()"
)


@dataclass(frozen=True, slots=True)
class _Server:
    """A PostgreSQL server, as it was found."""

    version: str
    standby: bool
    collation: str
    commits: str
    """What ``synchronous_commit`` is."""
    may_create: bool
    foreign_owner: str | None
    """Whose our tables are, if they are not ours."""
    free: int
    revision: str | None
    behind_s: float
    """How far this host's clock is behind its."""
    answer_s: float


def database(settings: Settings) -> Iterator[Check]:
    """All there is to say about it; of the embedded one only what a file that nobody uses can tell as well."""
    from fleetcast.launch.database import database_address
    from fleetcast.stores.database import database_url
    from fleetcast.stores.postgresql_errors import place

    if settings.control is None:
        return
    try:
        address = database_address(settings.control)
        url = database_url(address)
        if url.get_backend_name() == _SQLITE:
            yield from _file(Path(str(url.database)))
            return
        where, found = place(url), asyncio.run(_look(address))
    except FleetcastError as error:
        yield fail("database", error.message, "fleetcast settings shows what holds, docs/operations.md how to set one up")
        return
    yield _server(where, found)
    yield clock("clock of the database", "the database's", found.behind_s)
    yield from _schema(found.revision)


def _server(where: str, found: _Server) -> Check:
    says = f"PostgreSQL {found.version}, {where}"
    if found.standby:
        return fail("database", f"{says} is a standby: it takes no writes", "correct the URL in the settings")
    if found.foreign_owner is not None:
        advice = f"use that role, or REASSIGN OWNED BY {found.foreign_owner} to yours"
        return fail("database", f"{says}: the tables belong to the role {found.foreign_owner}", advice)
    if not found.may_create:
        advice = "make the role of the URL the database's owner: ALTER DATABASE ... OWNER TO ..."
        return fail("database", f"{says} lets us make no tables", advice)
    if int(found.version.partition(".")[0]) < VERSION_MIN:
        return warn("database", says, f"use PostgreSQL {VERSION_MIN} or newer: nothing older was tried")
    if found.collation not in _BYTEWISE:
        return warn(
            "database", f"{says} puts names in the order of {found.collation}", "make the database anew with LOCALE 'C'"
        )
    if found.commits == "off":
        advice = "set synchronous_commit = on: else what was answered may be lost with the server"
        return warn("database", f"{says} answers before it has written", advice)
    return answering("database", f"{says}, {found.free} connections left", found.answer_s)


async def _look(address: str) -> _Server:
    from sqlalchemy import text

    from fleetcast.schema.upgrade import revision_of
    from fleetcast.stores.database import Database, read_clock_ms

    opened = await Database.open(address)
    try:
        async with opened.reading() as reading:
            row = (await reading.execute(text(_ABOUT))).one()
            revision = None if row.foreign_owner else await reading.run_sync(revision_of)
            before = time.time()
            theirs_ms = await read_clock_ms(reading)
            after = time.time()
    finally:
        await opened.close()
    return _Server(
        version=row.version,
        standby=row.standby,
        collation=row.collation,
        commits=row.commits,
        may_create=row.may_create,
        foreign_owner=row.foreign_owner,
        free=int(row.free),
        revision=revision,
        behind_s=behind_s(theirs_ms / 1000, before, after),
        answer_s=after - before,
    )


def _file(path: Path) -> Iterator[Check]:
    if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
        least = ".".join(map(str, SQLITE_VERSION_MIN))
        yield fail("database", f"SQLite {sqlite3.sqlite_version}", f"use a Python with SQLite {least} or newer")
        return
    if not is_there(path):  # control has not been started yet, or its directory is not ours, which is said elsewhere
        return
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_LOOK_S_MAX)
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            row = (
                connection.execute("SELECT version_num FROM alembic_version").fetchone()
                if "alembic_version" in tables
                else None
            )
        finally:
            connection.close()
    except sqlite3.Error as error:
        advice = "see that it is readable and on a local disk; what is damaged comes back with fleetcast restore"
        yield fail("database", f"{path} cannot be read: {error}", advice)
        return
    yield ok("database", f"SQLite {sqlite3.sqlite_version}, {path}")
    yield from _schema(None if row is None else row[0])


def _schema(revision: str | None) -> Iterator[Check]:
    from fleetcast.schema.upgrade import revisions

    if revision is None:
        yield ok("schema", "no tables yet: control makes them when it starts")
        return
    known = revisions()
    if revision not in known:
        says = f"the tables are at {revision}, which this version does not know"
        yield fail("schema", says, "use the version that upgraded them, or restore a backup of before")
    elif revision != known[0]:
        says = f"the tables are at {revision}, {known.index(revision)} steps before {known[0]}"
        yield warn(
            "schema", says, "start control of this version: it upgrades them, and those of the version before keep running"
        )
    else:
        yield ok("schema", f"the tables are of this version ({revision})")
