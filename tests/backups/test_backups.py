"""A backup is everything, on whichever engine it was taken and is restored; and nothing of a bad one is."""

from __future__ import annotations

import gzip
import os
import stat
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, insert, select, update

from filled_tables import Store, fill
from fleetcast.backups.history import begin_history
from fleetcast.backups.keys import add_missing, held_by
from fleetcast.backups.restoring import restore_tables, verified
from fleetcast.cli.demo.engines.postgres import PostgresServer
from fleetcast.model.errors import Corrupt, FleetcastError, Incompatible, Invalid, NotFound, Refused
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal
from fleetcast.model.limits import RESTORE_IDS_MIN
from fleetcast.schema import migrate
from fleetcast.schema.installation_tables import control_processes, origins
from fleetcast.schema.machine_tables import machine_labels
from fleetcast.schema.plain_tables import plain_columns, plain_table
from fleetcast.schema.tables import deployments, events, goals, jobs, metadata, regions, replicas
from fleetcast.schema.upgrade import revisions, schema_transaction, upgrade
from fleetcast.stores.database import now_ms

Open = Callable[[str], Awaitable[Store]]


def _nothing(_connection: Connection, _epoch: int) -> None:
    """What a move does after the tables are there."""


def _history(connection: Connection, epoch: int, *, labels_lost: bool = False) -> None:
    begin_history(connection, taken_at_ms=0, seen_epoch=epoch, labels_lost=labels_lost, source="from a test")


@pytest.fixture(params=["sqlite", "postgresql"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of either engine to restore into."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'elsewhere.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    yield server.create_database("elsewhere")
    server.drop_database("elsewhere")


async def _everything(store: Store) -> dict[str, set[tuple[Any, ...]]]:
    """All rows as they are stored."""
    async with store.database.reading() as reading:
        tables = await reading.run_sync(plain_columns)
        found = {}
        for name, columns in tables.items():
            rows = (await reading.execute(select(*plain_table(name, columns).columns))).all()
            found[name] = {tuple(row) for row in rows}
            assert len(found[name]) == len(rows)
    return found


async def test_no_table_row_or_value_is_lost_between_any_two_engines(
    opened: Open, database_url: str, elsewhere: str, tmp_path: Path
) -> None:
    store: Store = await opened(database_url)
    await fill(store)
    path = await store.backup(tmp_path / "x.backup")
    restore_tables(elsewhere, verified(path), replace=False, afterwards=_nothing)

    before, after = await _everything(store), await _everything(await opened(elsewhere))
    assert set(before) == {table.name for table in metadata.sorted_tables}
    assert all(len(rows) == 2 for rows in before.values()), before
    assert after == before


async def test_it_is_for_its_owner_and_equal_contents_are_equal_lines(opened: Open, database_url: str, tmp_path: Path) -> None:
    os.umask(os.umask(0))
    store: Store = await opened(database_url)
    await fill(store)
    paths = [await store.backup(tmp_path / name) for name in ("a", "b")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600, 0o600]
    first, second = (gzip.decompress(path.read_bytes()).splitlines() for path in paths)
    assert first[1:-1] == second[1:-1]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix not in (".db", ".db-wal", ".db-shm")) == ["a", "b"]


@pytest.mark.one_engine
async def test_there_may_be_a_file_already_which_stays(opened: Open, database_url: str, tmp_path: Path) -> None:
    store: Store = await opened(database_url)
    (tmp_path / "x").write_text("yesterday's")
    with pytest.raises(Refused, match=r"there is .*x already"):
        await store.backup(tmp_path / "x")
    assert (tmp_path / "x").read_text() == "yesterday's"


@pytest.mark.one_engine
async def test_one_that_cannot_be_written_leaves_nothing(opened: Open, database_url: str, tmp_path: Path) -> None:
    store: Store = await opened(database_url)
    await store.kv.close()
    with pytest.raises(FleetcastError):
        await store.backup(tmp_path / "x")
    assert [path for path in tmp_path.iterdir() if "x" in path.suffixes or path.name.startswith((".x", "x"))] == []


async def test_it_is_one_moment_though_others_write_meanwhile(opened: Open, database_url: str, tmp_path: Path) -> None:
    """Regions are written before machines are, and machines refer to them: rows of after the beginning would be seen."""
    store: Store = await opened(database_url)
    await fill(store)
    async with store.database.reading() as snapshot:
        await snapshot.execute(select(regions))
    path = await _written_into(store, tmp_path / "x.backup")
    found = verified(path)
    assert found.footer.tables["regions"].count == 2
    assert found.footer.tables["events"].count == 2


async def _written_into(store: Store, path: Path) -> Path:
    """A backup during whose every page of rows somebody adds an event and a region."""
    from fleetcast.backups import taking

    written = 0
    original = taking._rows

    async def rows(*arguments: Any) -> Any:
        nonlocal written
        async for row in original(*arguments):
            yield row
        written += 1
        async with store.database.transaction() as tx:
            await tx.execute(insert(regions).values(name=f"new-{written}", data_url="", data_key="", hello_at=1))
            await tx.execute(insert(events).values(at=1, kind="x", subject="y"))

    taking._rows = rows
    try:
        await store.backup(path)
    finally:
        taking._rows = original
    assert written > 2
    return path


@pytest.mark.one_engine
@pytest.mark.parametrize("at", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("how", ["cut", "flip", "unpacked"])
async def test_a_damaged_one_is_refused_before_anything_is_written(
    opened: Open, database_url: str, tmp_path: Path, at: float, how: str
) -> None:
    store: Store = await opened(database_url)
    await fill(store)
    path = await store.backup(tmp_path / "x.backup")
    data = path.read_bytes() if how != "unpacked" else gzip.decompress(path.read_bytes())
    place = min(int(len(data) * at), len(data) - 1)
    if how == "cut":
        path.write_bytes(data[:place])
    else:
        flipped = bytes([data[place] ^ 1])
        changed = data[:place] + flipped + data[place + 1 :]
        path.write_bytes(changed if how == "flip" else gzip.compress(changed, mtime=0))
    # Bytes of gzip's own head and tail say nothing that counts.
    if how == "flip" and verifies(path):
        assert at in (0.0, 1.0)
        return
    with pytest.raises(FleetcastError) as refused:
        verified(path)
    assert str(path) in refused.value.message
    assert "\n" not in refused.value.message


def verifies(path: Path) -> bool:
    try:
        verified(path)
    except FleetcastError:
        return False
    return True


def test_what_is_no_backup_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        verified(tmp_path / "none")
    for text in (b"", b"hello", gzip.compress(b"hello"), gzip.compress(b'{"what":"else"}\n')):
        (tmp_path / "x").write_bytes(text)
        with pytest.raises(Invalid, match="is no backup of Fleetcast's"):
            verified(tmp_path / "x")
    (tmp_path / "x").write_bytes(gzip.compress(b'{"what":"fleetcast backup","format":2,"version":"9.0"}\n'))
    with pytest.raises(Incompatible, match=r"format 2.*9\.0"):
        verified(tmp_path / "x")


async def test_a_database_that_is_used_is_not_lost_unless_that_is_said(opened: Open, database_url: str, tmp_path: Path) -> None:
    store: Store = await opened(database_url)
    await fill(store)
    path = await store.backup(tmp_path / "x.backup")
    async with store.database.transaction() as tx:
        await tx.execute(insert(regions).values(name="later", data_url="", data_key="", hello_at=1))
        await tx.execute(control_processes.delete())
    before = await _everything(store)
    with pytest.raises(Refused, match=r"(?s)2 regions|3 regions|not_empty|in it already"):
        restore_tables(store.url, verified(path), replace=False, afterwards=_nothing)
    assert await _everything(store) == before
    restore_tables(store.url, verified(path), replace=True, afterwards=_nothing)
    after = await _everything(store)
    assert len(after["regions"]) == 2


async def test_all_or_nothing(opened: Open, database_url: str, tmp_path: Path) -> None:
    """Whatever ends it, the last moment included: what was there before is there."""
    store: Store = await opened(database_url)
    await fill(store)
    path = await store.backup(tmp_path / "x.backup")
    async with store.database.transaction() as tx:
        await tx.execute(control_processes.delete())
        await tx.execute(insert(regions).values(name="later", data_url="", data_key="", hello_at=1))
    before = await _everything(store)

    def fails(_connection: Connection, _epoch: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_tables(store.url, verified(path), replace=True, afterwards=fails)
    assert await _everything(store) == before


async def test_a_control_process_that_runs_is_not_robbed(opened: Open, database_url: str, tmp_path: Path) -> None:
    store: Store = await opened(database_url)
    path = await store.backup(tmp_path / "x.backup")
    row = {"id": "a", "place": "host http://here", "version": "1", "protocol": 1, "started_at": 1}
    async with store.database.transaction() as tx:
        await tx.execute(insert(control_processes).values(seen_at=now_ms(), **row))
    with pytest.raises(Refused, match=r"host http://here \(0 s ago\): stop it"):
        restore_tables(store.url, verified(path), replace=True, afterwards=_nothing)
    async with store.database.transaction() as tx:
        await tx.execute(update(control_processes).values(seen_at=now_ms() - 21_000))
    restore_tables(store.url, verified(path), replace=True, afterwards=_nothing)


@pytest.mark.one_engine
async def test_older_tables_are_brought_to_those_of_today_with_what_was_in_them(
    opened: Open, empty_database_url: str, elsewhere: str, tmp_path: Path
) -> None:
    """Of every revision there ever was: backed up by the program of today, and restored by it."""
    for number, revision in enumerate(revisions()):
        url = f"sqlite+aiosqlite:///{tmp_path / f'{revision}.db'}"
        with schema_transaction(url) as connection:
            upgrade(connection, revision)
            plain = plain_table("regions", [("name", "text"), ("data_url", "text"), ("data_key", "text"), ("hello_at", "int")])
            connection.execute(insert(plain).values(name="eu", data_url="u", data_key="k", hello_at=number))
        store: Store = await opened(url)
        path = await store.backup(tmp_path / f"{revision}.backup")
        restore_tables(elsewhere, verified(path), replace=True, afterwards=_history)
        restored: Store = await opened(elsewhere)
        (row,) = await restored.rows(regions)
        assert (row["name"], row["hello_at"], row["drained"]) == ("eu", number, False)
        assert [origin["kind"] for origin in await restored.rows(origins)] == ["RESTORED"]
        await restored.database.close()


async def test_a_history_goes_on_above_everything_that_was_seen(
    opened: Open, database_url: str, elsewhere: str, tmp_path: Path
) -> None:
    store: Store = await opened(database_url)
    await fill(store)
    path = await store.backup(tmp_path / "x.backup")
    start_ms = time.time_ns() // 1_000_000
    restore_tables(elsewhere, verified(path), replace=False, afterwards=_history)
    restored: Store = await opened(elsewhere)

    written, none_yet = sorted(await restored.rows(goals), key=lambda row: row["value"] is None)
    epoch = written["epoch"]
    assert start_ms - 1000 <= epoch <= start_ms + 60_000
    assert (written["counter"], written["published"]) == (1, False)
    assert msgspec.json.decode(written["value"], type=Goal).generation == Generation(epoch, 1)
    assert (none_yet["epoch"], none_yet["counter"]) == (epoch, 0)
    by_id = {row["id"]: row for row in await restored.rows(deployments)}
    assert (by_id["1-deployments"]["epoch"], by_id["1-deployments"]["counter"]) == (epoch, 1)
    assert {row["token"] for row in by_id.values()} == {None}
    assert by_id["1-deployments"]["goal_at"] >= start_ms - 1000

    ran, _ = sorted(await restored.rows(jobs), key=lambda row: row["id"])
    assert (ran["status"], ran["token"], ran["worker"], ran["attempt"]) == ("QUEUED", None, "", 2**30 + 1)
    assert {row["checked_at"] for row in await restored.rows(replicas)} == {0}
    async with restored.database.transaction() as tx:
        added = await tx.execute(insert(events).values(at=1, kind="x", subject="y").returning(events.c.id))
        assert added.scalar_one() > 2 + RESTORE_IDS_MIN


async def test_an_epoch_of_the_future_is_still_overtaken(opened: Open, database_url: str, tmp_path: Path) -> None:
    """Somebody restored once with a clock that was years ahead."""
    store: Store = await opened(database_url)
    await fill(store)
    path = await store.backup(tmp_path / "x.backup")
    future = (time.time_ns() // 1_000_000) + 10**12
    async with store.database.transaction() as tx:
        await tx.execute(control_processes.delete())
        await tx.execute(update(goals).values(epoch=future))
    restore_tables(store.url, verified(path), replace=True, afterwards=_history)
    assert {row["epoch"] for row in await store.rows(goals)} == {future + 1}


async def test_labels_that_were_given_since_are_taken_away(opened: Open, database_url: str, tmp_path: Path) -> None:
    store: Store = await opened(database_url)
    await fill(store)
    async with store.database.transaction() as tx:
        await tx.execute(control_processes.delete())
        await tx.execute(machine_labels.delete())
    path = await store.backup(tmp_path / "x.backup")
    held = await held_by(store.kv)
    assert (held.epoch, held.goals, held.labels) == (3, {("web", "production")}, True)
    for lost, told in ((False, []), (True, ["1-machines", "2-machines"])):
        restore_tables(
            store.url, verified(path), replace=True, afterwards=lambda c, e, lost=lost: _history(c, e, labels_lost=lost)
        )
        rows = await store.rows(machine_labels)
        assert sorted((row["machine"], row["labels"], row["published"]) for row in rows) == [(name, {}, False) for name in told]


@pytest.mark.one_engine
async def test_keys_are_added_where_they_are_missing_and_goals_are_not(opened: Open, database_url: str, tmp_path: Path) -> None:
    store: Store = await opened(database_url)
    await fill(store)
    path = await store.backup(tmp_path / "x.backup")
    another: Store = await opened(f"sqlite+aiosqlite:///{tmp_path / 'another.db'}")
    await another.kv.put("labels/m1", b"newer")
    entries = [entry for table, entry in verified(path).entries() if table is None]
    assert await add_missing(another.kv, entries) == 1
    found = {entry.key: entry.value for entry in (await another.kv.range("")).entries}
    assert found == {"artifacts/" + "e" * 64: b'{"release":"\xff\x00"}', "labels/m1": b"newer"}


@pytest.mark.one_engine
async def test_tables_of_a_newer_program_are_left_alone(opened: Open, database_url: str, tmp_path: Path) -> None:
    store: Store = await opened(database_url)
    path = await store.backup(tmp_path / "x.backup")
    async with store.database.transaction() as tx:
        await tx.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Incompatible, match="newer program"):
        await store.backup(tmp_path / "y.backup")
    text = gzip.decompress(path.read_bytes()).replace(f'"schema":"{revisions()[0]}"'.encode(), b'"schema":"9999"')
    (tmp_path / "z.backup").write_bytes(gzip.compress(text))
    with pytest.raises(Corrupt):
        verified(tmp_path / "z.backup")


def test_a_database_that_is_somebody_elses_is_left_alone(postgres: PostgresServer, tmp_path: Path) -> None:
    source = f"sqlite+aiosqlite:///{tmp_path / 'x.db'}"
    migrate(source)
    url = postgres.create_database("shop")
    with schema_transaction(url) as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id int)")
    import asyncio

    from fleetcast.backups.taking import take_backup
    from fleetcast.stores.database import Database
    from fleetcast.stores.sqlite_kv import SqliteKv

    async def take() -> None:
        database, kv = await Database.open(source), await SqliteKv.open(tmp_path / "kv.db")
        await take_backup(database, kv, tmp_path / "x.backup")
        await database.close()
        await kv.close()

    asyncio.run(take())
    with pytest.raises(Refused, match="not Fleetcast's"):
        restore_tables(url, verified(tmp_path / "x.backup"), replace=True, afterwards=_nothing)
    postgres.drop_database("shop")
