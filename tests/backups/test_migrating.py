"""What an installation keeps is the same on its new engines, however often the move was killed in between."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import delete, insert, select

from filled_tables import Store, fill
from fleetcast.backups.taking import every_entry
from fleetcast.cli.demo.engines.postgres import PostgresServer
from fleetcast.launch import sources
from fleetcast.launch.migrating import Moved, migrate
from fleetcast.model.errors import FleetcastError
from fleetcast.schema import migrate as make_tables
from fleetcast.schema.installation_tables import control_processes, origins
from fleetcast.schema.plain_tables import plain_columns, plain_table
from fleetcast.schema.tables import jobs
from fleetcast.stores.database import Database, now_ms
from fleetcast.stores.sqlite_kv import SqliteKv

Open = Callable[[str], Awaitable[Store]]
LARGE: Final = 20_000_000
"""Bytes: more than two parts."""
CHANGED: Final = {
    "jobs",
    "deployments",
    "trunk_heads",
    "commit_statuses",
    "webhook_deliveries",
    "outside_checks",
    "control_processes",
    "origins",
}
"""Tables in which what processes held becomes void."""


@dataclass(frozen=True)
class Installation:
    """Settings of now and of then, each with a directory of its own, in one directory."""

    directory: Path
    then_url: str

    def write(self, name: str, url: str, regions: str = "eu") -> Path:
        file = self.directory / f"{name}.toml"
        control = f'[control]\nport = 1\ndirectory = "{name}"\ndatabase_url = "{url}"\n'
        file.write_text(f'{control}[[region]]\nname = "{regions}"\nport = 1\ndirectory = "{name}-eu"\n')
        return file

    def migrate(self) -> Moved:
        now, then = (sources.load(self.directory / f"{name}.toml", environ={}) for name in ("now", "then"))
        return migrate(now, then, lambda *_: None)

    def blobs(self, name: str) -> dict[str, bytes]:
        root = self.directory / name / "bucket" / "blobs"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("content*")}


@pytest.fixture(params=["sqlite", "postgresql"])
def then_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of either engine."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'then.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    yield server.create_database("then")
    server.drop_database("then")


@pytest.fixture
async def place(database_url: str, then_url: str, tmp_path: Path) -> Installation:
    """With something in everything that is kept now."""
    kept: Path = tmp_path / "now"
    kept.mkdir()
    store = Store(database_url, await Database.open(database_url), await SqliteKv.open(kept / "kv.db"))
    await fill(store)
    async with store.database.transaction() as tx:
        await tx.execute(delete(control_processes))
    await store.database.close()
    await store.kv.close()
    (tmp_path / "now-eu").mkdir()
    regional = await SqliteKv.open(tmp_path / "now-eu" / "kv.db")
    await regional.put("goals/production/web", b"of the region")
    await regional.close()
    some = random.Random(1)
    for name, key, size in [
        *(("now", f"builds/{number}/1/content", 1000 + number) for number in range(6)),
        ("now", "builds/9/1/content.large", LARGE),
        ("now", "builds/9/2/content.empty", 0),
        ("now-eu", "artifacts/a/content", 3000),
    ]:
        path = tmp_path / name / "bucket" / "blobs" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(some.randbytes(size))
    found = Installation(tmp_path, then_url)
    found.write("now", database_url)
    found.write("then", then_url)
    return found


async def _rows(url: str) -> dict[str, set[tuple[Any, ...]]]:
    database = await Database.open(url)
    async with database.reading() as reading:
        tables = await reading.run_sync(plain_columns)
        found = {
            name: {tuple(row) for row in await reading.execute(select(*plain_table(name, columns).columns))}
            for name, columns in tables.items()
        }
    await database.close()
    return found


async def _keys(path: Path) -> dict[str, bytes]:
    kv = await SqliteKv.open(path)
    found = {entry.key: entry.value async for entry in every_entry(kv)}
    await kv.close()
    return found


async def _check_moved(place: Installation, database_url: str) -> None:
    before, after = await _rows(database_url), await _rows(place.then_url)
    assert {name: rows for name, rows in after.items() if name not in CHANGED} == {
        name: rows for name, rows in before.items() if name not in CHANGED
    }
    assert {row[0] for row in after["jobs"]} == {row[0] for row in before["jobs"]}
    for owner in ("", "-eu"):
        assert place.blobs(f"then{owner}") == place.blobs(f"now{owner}") != {}
        keys = [await _keys(place.directory / f"{name}{owner}" / "kv.db") for name in ("then", "now")]
        assert keys[0] == keys[1] != {}


def _contents(place: Installation, database_url: str) -> dict[str, bytes]:
    """What of the old engines is in files."""
    files = [path for name in ("now", "now-eu") for path in (place.directory / name).rglob("*") if path.is_file()]
    found = {str(path): path.read_bytes() for path in files if not path.name.endswith(("-wal", "-shm"))}
    if database_url.startswith("sqlite"):
        found["tables"] = Path(database_url.partition("///")[2]).read_bytes()
    return found


async def test_everything_is_there_and_nothing_of_before_has_changed(place: Installation, database_url: str) -> None:
    before, rows = _contents(place, database_url), await _rows(database_url)
    moved = await asyncio.to_thread(place.migrate)
    assert moved.blobs["control"].blobs == 8
    assert moved.keys == {"control": 3, "regions/eu": 1}
    assert moved.builds_requeued == 1
    assert await _rows(database_url) == rows
    assert _contents(place, database_url) == before
    await _check_moved(place, database_url)
    database = await Database.open(place.then_url)
    async with database.reading() as reading:
        assert "RUNNING" not in set((await reading.execute(select(jobs.c.status))).scalars()), "uploads have not come along"
        assert (await reading.execute(select(origins.c.kind).order_by(origins.c.id.desc()))).scalars().first() == "MOVED"
    await database.close()
    assert not list(place.directory.rglob("*.backup")), "a file with secrets is left"

    again = await asyncio.to_thread(place.migrate)
    assert again.rows == moved.rows
    await _check_moved(place, database_url)


KILLED: Final = """
import os, signal, sys
from pathlib import Path
from fleetcast.launch import sources
from fleetcast.launch.migrating import migrate
from {module} import {owner}

calls = 0
original = {owner}.{function}


def dying(*arguments, **named):
    global calls
    calls += 1
    if calls == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **named)


{owner}.{function} = dying
now, then = (sources.load(Path(sys.argv[1]) / f"{{name}}.toml", environ={{}}) for name in ("now", "then"))
migrate(now, then, lambda *_: None)
"""


@pytest.mark.one_engine
@pytest.mark.parametrize(
    ("module", "owner", "function", "number"),
    [
        ("fleetcast.stores.directory_blobs", "DirectoryBlobs", "write_part", 9),  # the last of the large one
        ("fleetcast.stores.directory_blobs", "DirectoryBlobs", "complete", 4),
        ("fleetcast.stores.sqlite_kv", "SqliteKv", "put", 2),
        ("fleetcast.backups", "moving", "void_attempts", 1),
    ],
)
async def test_killed_and_done_again(
    place: Installation, database_url: str, module: str, owner: str, function: str, number: int
) -> None:
    script = KILLED.format(module=module, owner=owner, function=function, number=number)
    ended = await asyncio.to_thread(lambda: subprocess.run([sys.executable, "-c", script, str(place.directory)], check=False))
    assert ended.returncode == -signal.SIGKILL
    moved = await asyncio.to_thread(place.migrate)
    assert moved.blobs["control"].blobs == 8
    await _check_moved(place, database_url)
    assert not list(place.directory.rglob("*.backup"))
    left = [path.stat() for path in place.directory.glob("then*/bucket/uploads/*") if path.suffix != ".parts"]
    assert all(found.st_nlink == 2 or not found.st_size for found in left), "bytes that are no blob's"


async def _foreign_blob(place: Installation, _: str) -> None:
    path = place.directory / "then-eu" / "bucket" / "blobs" / "artifacts" / "other" / "content"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"somebody else's")


async def _damaged_blob(place: Installation, _: str) -> None:
    path = place.directory / "then" / "bucket" / "blobs" / "builds" / "0" / "1" / "content"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(1000))


async def _foreign_key(place: Installation, _: str) -> None:
    (place.directory / "then").mkdir()
    kv = await SqliteKv.open(place.directory / "then" / "kv.db")
    await kv.put("labels/m1", b'{"other": "value"}')
    await kv.close()


async def _full_database(place: Installation, _: str) -> None:
    await asyncio.to_thread(make_tables, place.then_url)
    other = Store(place.then_url, await Database.open(place.then_url), await SqliteKv.open(place.directory / "other.db"))
    await fill(other)
    async with other.database.transaction() as tx:
        await tx.execute(delete(control_processes))
    await other.database.close()
    await other.kv.close()


async def _running(_: Installation, database_url: str) -> None:
    database = await Database.open(database_url)
    async with database.transaction() as tx:
        row = {"id": "1", "place": "host-7", "version": "1", "protocol": 1, "started_at": 1, "seen_at": now_ms()}
        await tx.execute(insert(control_processes).values(row))
    await database.close()


async def _other_regions(place: Installation, _: str) -> None:
    place.write("then", place.then_url, regions="us")


async def _same(place: Installation, _: str) -> None:
    (place.directory / "then.toml").write_text((place.directory / "now.toml").read_text())


@pytest.mark.one_engine
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_foreign_blob, "has something that the one of now has not, artifacts/other/content: use a store of its own"),
        (_damaged_blob, "another builds/0/1/content: use a store of its own"),
        (_foreign_key, "has a key labels/m1 of somebody else's: use another prefix"),
        (_full_database, "the new database has something in it already .*use a new one"),
        (_running, "control runs on this database.*host-7.*stop it, wait 20 s"),
        (_other_regions, "only one of the two settings has a \\[\\[region\\]\\] 'eu'"),
        (_same, "both settings name the same engines"),
    ],
)
async def test_what_must_not_be_done_is_one_line(
    place: Installation, database_url: str, spoil: Callable[[Installation, str], Awaitable[None]], said: str
) -> None:
    await spoil(place, database_url)
    before = await _rows(database_url)
    with pytest.raises(FleetcastError, match=said) as refused:
        await asyncio.to_thread(place.migrate)
    assert "\n" not in str(refused.value)
    assert await _rows(database_url) == before


@pytest.mark.one_engine
async def test_a_region_that_runs_is_told_of(place: Installation, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        file = place.directory / "now.toml"
        text = file.read_text()
        region = text.index("[[region]]")
        file.write_text(text[:region] + text[region:].replace("port = 1", f"port = {listening.getsockname()[1]}"))
        with pytest.raises(FleetcastError, match="region eu's address: stop region eu, and do this again"):
            await asyncio.to_thread(place.migrate)
    assert not (place.directory / "then" / "bucket").exists()
