"""Bringing a database to the newest schema, or to the one of a backup before it is filled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError

from fleetcast.model.errors import Invalid, Refused
from fleetcast.model.limits import MIGRATION_LOCK_S_MAX
from fleetcast.stores import sqlite_file
from fleetcast.stores.database import database_url

if TYPE_CHECKING:
    from alembic.config import Config

NEWEST: Final = "head"
"""Among revisions: the last there is."""
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_VERSION_TABLE: Final = "alembic_version"
_LOCK: Final = 0x666C656574  # an advisory lock's number means nothing; it has to be ours alone
_SQLITE_WAIT_S: Final = 60


def migrate(address: str) -> None:
    """Upgrade the database at the URL ``address`` to the newest revision. Blocking: run it before the loop or in a thread.

    Safe when several processes do it at once: one does the work in one transaction, the others wait and find it done.

    Raises:
        Invalid: a URL of another kind than :meth:`~fleetcast.stores.database.Database.open` takes, or of a database that
            another program keeps its revision in.
        Refused: a later version of this program has upgraded it.
        Unavailable: the server does not answer or refuses us, or the file cannot be used.
    """
    with schema_transaction(address) as connection:
        bound_waits(connection, MIGRATION_LOCK_S_MAX)
        upgrade(connection)


@contextmanager
def schema_transaction(address: str) -> Iterator[Connection]:
    """One transaction in which tables are made and filled, all or nothing. No other process migrates meanwhile, so none
    starts to work on this database. Blocking; raises as :func:`migrate`.
    """
    url = database_url(address)
    engine = _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection
    except DBAPIError as error:
        raise _obstacle(error, url) from error
    finally:
        engine.dispose()


def bound_waits(connection: Connection, seconds: int) -> None:
    """Wait no longer than this for others to let go of a table; then it is :class:`Unavailable`."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{seconds}s'"))


def upgrade(connection: Connection, revision: str = NEWEST) -> None:
    """Go on to ``revision`` from whatever there is, as part of :func:`schema_transaction`."""
    # Half a second to import, and only processes that own a database need it.
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    _must_be_known(connection, config)
    command.upgrade(config, revision)


def revision_of(connection: Connection) -> str | None:
    """The revision a database is at; ``None``: it has no tables of ours."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar_one_or_none()


def revisions() -> tuple[str, ...]:
    """All that this program knows, the newest first."""
    from alembic.script import ScriptDirectory

    return tuple(found.revision for found in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _must_be_known(connection: Connection, config: Config) -> None:
    """Alembic itself has a traceback for a revision that it cannot find."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(config)
    there, newest = MigrationContext.configure(connection).get_current_revision(), scripts.get_current_head()
    if there is None or there in {script.revision for script in scripts.walk_revisions()}:
        return
    if there.isdigit() and newest is not None and there > newest:
        raise Refused(
            "database_is_newer",
            f"a later version of Fleetcast has upgraded the database (to {there}, this one knows {newest}): start that version",
        )
    raise Invalid(
        "foreign_database", f"the database has tables of another program (revision {there!r}): name a database of its own"
    )


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url.set(drivername="sqlite"), connect_args={"timeout": _SQLITE_WAIT_S})
    event.listen(engine, "connect", _leave_transactions_to_us)
    event.listen(engine, "begin", _begin_as_writer)
    return engine


def _postgresql(url: URL) -> Engine:
    from fleetcast.stores.postgresql_engine import connect_arguments

    return create_engine(url, connect_args=dict(connect_arguments()), use_native_hstore=False)


def _obstacle(error: DBAPIError, url: URL) -> Exception:
    if url.get_backend_name() == "sqlite":
        return sqlite_file.obstacle(error.orig) or error
    from fleetcast.stores import postgresql_errors

    return postgresql_errors.obstacle(error.orig, url) or error


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    # Python's driver commits before DDL by itself, which would let a second process in between.
    connection.isolation_level = None


def _begin_as_writer(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
