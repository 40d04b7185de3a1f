"""What a database looks like after ``migrate``, however often and by however many it was run."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect

from fleetcast.model.errors import FleetcastError, Invalid, Refused
from fleetcast.schema import migrate
from fleetcast.schema.tables import metadata


def _definitions(path: Path) -> dict[str, dict[str, Any]]:
    """Every table as SQLAlchemy reads it back: a column that a migration added stands elsewhere in SQLite's own text."""
    engine = create_engine(f"sqlite:///{path}")
    try:
        looking = inspect(engine)
        return {
            table: {
                "columns": {column["name"]: _told(column) for column in looking.get_columns(table)},
                "key": looking.get_pk_constraint(table),
                "foreign": _sorted(looking.get_foreign_keys(table)),
                "indexes": _sorted(_readable(index) for index in looking.get_indexes(table)),
                "unique": _sorted(looking.get_unique_constraints(table)),
                "checks": _sorted(looking.get_check_constraints(table)),
            }
            for table in looking.get_table_names()
            if not table.startswith("alembic_")
        }
    finally:
        engine.dispose()


def _told(column: Any) -> tuple[str, bool, str | None]:
    return str(column["type"]), column["nullable"], column["default"]


def _readable(index: Any) -> dict[str, Any]:
    return {**index, "dialect_options": {name: str(value) for name, value in index["dialect_options"].items()}}


def _sorted(found: Iterable[Any]) -> list[str]:
    return sorted(map(str, found))


def _url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


def test_the_migrations_lead_to_the_tables_the_code_uses(tmp_path: Path) -> None:
    migrate(_url(tmp_path / "migrated.db"))
    engine = create_engine(f"sqlite:///{tmp_path / 'created.db'}")
    metadata.create_all(engine)
    engine.dispose()

    assert _definitions(tmp_path / "migrated.db") == _definitions(tmp_path / "created.db")


def test_jobs_has_what_the_queue_promises_to_its_readers(tmp_path: Path) -> None:
    migrate(_url(tmp_path / "x.db"))
    with sqlite3.connect(tmp_path / "x.db") as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(jobs)")}
        indexed = [row[2] for row in connection.execute("PRAGMA index_info(ix_jobs_status_created_at)")]
    connection.close()

    assert {"id", "created_at", "last_heartbeat", "commit_sha", "name", "status", "blob"} <= columns
    assert indexed == ["status", "created_at"]


def test_migrating_again_changes_nothing_and_keeps_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    migrate(_url(path))
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO regions (name, data_url, data_key, hello_at) VALUES ('eu', 'u', 'k', 1)")
    connection.close()
    migrate(_url(path))
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name, drained FROM regions").fetchall() == [("eu", 0)]
    connection.close()


@pytest.mark.timeout(60)
def test_several_processes_may_migrate_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    program = f"from fleetcast.schema import migrate; migrate({_url(path)!r})"
    processes = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(3)]
    errors = [process.communicate()[1].decode() for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert "jobs" in _definitions(path)


def test_a_path_with_a_percent_sign_is_no_template(tmp_path: Path) -> None:
    path = tmp_path / "100%(here)s.db"
    migrate(_url(path))

    assert "jobs" in _definitions(path)


@pytest.mark.parametrize(
    ("revision", "refusal", "said"),
    [("9999", Refused, "a later version of Fleetcast has upgraded the database"), ("1975ea83b712", Invalid, "another program")],
)
def test_tables_that_this_version_does_not_know_are_left_alone(
    tmp_path: Path, revision: str, refusal: type[FleetcastError], said: str
) -> None:
    path = tmp_path / "control.db"
    migrate(_url(path))
    before = _definitions(path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    with pytest.raises(refusal, match=said):
        migrate(_url(path))
    assert _definitions(path) == before
