"""What is special about SQLite under the database and the key-value store."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from fleetcast.model.errors import Invalid, Unavailable
from fleetcast.stores import sqlite_engine, sqlite_file
from fleetcast.stores.database import Database
from fleetcast.stores.sqlite_kv import SqliteKv


async def test_compaction_bounds_the_file(tmp_path: Path) -> None:
    kv = await SqliteKv.open(tmp_path / "kv")
    for turn in range(20):
        for n in range(10):
            await kv.put(f"{turn}/{n}", b"x")
            await kv.delete(f"{turn}/{n}")
        await kv.compact((await kv.range("")).revision)
    await kv.close()
    connection = sqlite3.connect(tmp_path / "kv")
    assert connection.execute("SELECT count(*) FROM entries").fetchone() == (0,)
    assert connection.execute("SELECT revision, compacted FROM store").fetchone() == (400, 400)
    connection.close()


async def test_stores_write_ahead_and_sync_every_commit(tmp_path: Path) -> None:
    opened = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'db'}")
    kv = await SqliteKv.open(tmp_path / "kv")
    for enter in (opened.transaction, opened.reading):
        async with enter() as connection:
            pragmas = [
                (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            ]
            assert pragmas == ["wal", 2, 1, 30_000]
    await opened.close()
    await kv.close()
    for name in ("db", "kv"):
        connection = sqlite_file.connect(tmp_path / name)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        connection.close()


async def test_a_new_file_can_be_opened_by_many_at_once(tmp_path: Path) -> None:
    stores = await asyncio.gather(*(SqliteKv.open(tmp_path / "deep/er/kv") for _ in range(8)))
    databases = await asyncio.gather(*(Database.open(f"sqlite+aiosqlite:///{tmp_path / 'deep/est/db'}") for _ in range(8)))
    for opened in (*stores, *databases):
        await opened.close()


async def test_a_database_locked_for_too_long_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_engine, "SQLITE_BUSY_S_MAX", 0.1)
    opened = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'db'}")
    other = sqlite_file.connect(tmp_path / "db")
    other.execute("BEGIN IMMEDIATE")

    async def write() -> None:
        async with opened.transaction() as tx:
            await tx.execute(sa.text("CREATE TABLE t (id INTEGER)"))

    with pytest.raises(Unavailable):
        await write()
    other.execute("COMMIT")
    await write()
    async with opened.transaction():
        with pytest.raises(Unavailable):  # the one writing connection is taken
            await write()
    other.close()
    await opened.close()


async def test_a_key_value_store_locked_for_too_long_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "SQLITE_BUSY_S_MAX", 0.1)
    kv = await SqliteKv.open(tmp_path / "kv")
    other = sqlite_file.connect(tmp_path / "kv")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await kv.put("a", b"1")
    assert await kv.get("a") is None, "readers never wait"
    other.execute("COMMIT")
    await kv.put("a", b"1")
    other.close()
    await kv.close()


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "sqlite:///x.db", "sqlite+aiosqlite://", "sqlite+aiosqlite:///:memory:", "postgresql://h/db"],
)
async def test_other_database_urls_are_refused(url: str) -> None:
    with pytest.raises(Invalid, match="correct the settings"):
        await Database.open(url)


async def test_what_is_not_a_database_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database at all, but long enough to be read as one" * 100)
    with pytest.raises(Unavailable, match="text"):
        await SqliteKv.open(tmp_path / "text")
    with pytest.raises(Unavailable, match="text"):
        await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'text'}")
    with pytest.raises(Unavailable):
        await SqliteKv.open(tmp_path / "text/below")
