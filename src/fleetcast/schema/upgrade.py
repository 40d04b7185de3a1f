"""Bringing a database to the newest schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, create_engine, event, make_url, text

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x666C656574  # an advisory lock's number means nothing; it has to be ours alone
_SQLITE_WAIT_S: Final = 60


def migrate(database_url: str) -> None:
    """Upgrade the database at ``database_url`` to the newest revision. Blocking: run it before the loop or in a thread.

    Safe when several processes do it at once: one does the work in one transaction, the others wait and find it done.
    """
    # Half a second to import, and only processes that own a database need it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url.set(drivername="sqlite"), connect_args={"timeout": _SQLITE_WAIT_S})
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin_as_writer)
    else:
        engine = create_engine(url)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    # Python's driver commits before DDL by itself, which would let a second process in between.
    connection.isolation_level = None


def _begin_as_writer(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
