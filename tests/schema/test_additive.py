"""Tables only grow, so that a control process of the version before works on them (decisions/0020-backups-and-upgrades.md)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import create_engine, inspect, select, text

from fleetcast.control.presence import Presence
from fleetcast.schema import migrate
from fleetcast.schema.installation_tables import control_processes
from fleetcast.schema.plain_tables import plain_columns
from fleetcast.schema.tables import regions
from fleetcast.schema.upgrade import revisions, schema_transaction, upgrade
from fleetcast.schema.upsert import upsert
from fleetcast.stores.database import Database

RULE_FROM: Final = "0005"
"""What comes after this revision keeps the rule."""
ORDER: Final = tuple(reversed(revisions()))
KEPT: Final = ORDER[ORDER.index(RULE_FROM) :]

Described = Mapping[str, Mapping[str, Any]]


def _described(path: Path, revision: str) -> Described:
    with schema_transaction(f"sqlite+aiosqlite:///{path}") as connection:
        upgrade(connection, revision)
    engine = create_engine(f"sqlite:///{path}")
    looking = inspect(engine)
    try:
        return {
            name: {
                "columns": {column["name"]: column for column in looking.get_columns(name)},
                "unique": [
                    *(tuple(one["column_names"]) for one in looking.get_unique_constraints(name)),
                    *(tuple(one["column_names"]) for one in looking.get_indexes(name) if one["unique"]),
                ],
                "checks": {one["name"] for one in looking.get_check_constraints(name)},
                "foreign": {tuple(one["constrained_columns"]) for one in looking.get_foreign_keys(name)},
                "key": looking.get_pk_constraint(name)["constrained_columns"],
            }
            for name in looking.get_table_names()
        }
    finally:
        engine.dispose()


def taken_from(before: Described, after: Described) -> list[str]:
    """What a program that knows only ``before`` would stumble over, one line each."""
    wrong = [f"{name} is gone" for name in before.keys() - after.keys()]
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        wrong += [f"{name}.{column} is gone" for column in old["columns"].keys() - new["columns"].keys()]
        for column in old["columns"].keys() & new["columns"].keys():
            was, is_now = old["columns"][column], new["columns"][column]
            if str(was["type"]) != str(is_now["type"]):
                wrong.append(f"{name}.{column} was {was['type']} and is {is_now['type']}")
            if was["nullable"] and not is_now["nullable"]:
                wrong.append(f"{name}.{column} must be there now")
            if was["default"] is not None and is_now["default"] is None and not is_now["nullable"]:
                wrong.append(f"{name}.{column} has no default any more")
        added = new["columns"].keys() - old["columns"].keys()
        needed = [new["columns"][column] for column in added]
        wrong += [f"{name}.{it['name']} cannot be left out" for it in needed if not it["nullable"] and it["default"] is None]
        wrong += [f"{name} has another key" for _ in range(old["key"] != new["key"])]
        for kind in ("unique", "checks", "foreign"):
            wrong += [f"{name}: {kind} {it}" for it in set(new[kind]) - set(old[kind]) if not added & set(it)]
    return sorted(wrong)


@pytest.mark.parametrize(("before", "after"), list(itertools.pairwise(KEPT)))
def test_a_migration_takes_nothing_from_the_program_of_before(tmp_path: Path, before: str, after: str) -> None:
    assert taken_from(_described(tmp_path / "before.db", before), _described(tmp_path / "after.db", after)) == []


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("DROP TABLE copies", "copies is gone"),
        ("ALTER TABLE regions DROP COLUMN alarms", "regions.alarms is gone"),
        ("ALTER TABLE releases RENAME COLUMN waiting_for TO lacks", "releases.waiting_for is gone"),
        ("CREATE UNIQUE INDEX x ON machines (rack)", "machines: unique ('rack',)"),
    ],
)
def test_what_would_is_noticed(tmp_path: Path, statement: str, complaint: str) -> None:
    path = tmp_path / "x.db"
    before = _described(path, "head")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
    assert complaint in taken_from(before, _described(path, "head"))


async def test_a_control_process_that_works_does_not_notice(database_url: str) -> None:
    """What the next version may do to every table there is, while this one writes and reads all the time."""
    database = await Database.open(database_url)
    stop, rounds = asyncio.Event(), 0
    presence = Presence(database, "here")
    await presence.begin()

    async def work() -> None:
        nonlocal rounds
        while not stop.is_set():
            async with database.transaction() as tx:
                row = {"name": "eu", "data_url": "u", "data_key": "k", "hello_at": rounds}
                await upsert(tx, regions, [row], update=["hello_at"])
            async with database.reading() as reading:
                assert (await reading.execute(select(regions))).one().hello_at == rounds
            rounds += 1

    def grow() -> None:
        with schema_transaction(database_url) as connection:
            for table in plain_columns(connection):
                connection.execute(text(f"ALTER TABLE {table} ADD COLUMN later INTEGER NOT NULL DEFAULT 7"))
                connection.execute(text(f"CREATE INDEX ix_{table}_later ON {table} (later)"))
            connection.execute(text("CREATE TABLE later (id INTEGER PRIMARY KEY)"))

    working = asyncio.create_task(work())
    telling = asyncio.create_task(presence.run(stop))

    async def go_on() -> None:
        seen = rounds
        while rounds < seen + 3:
            assert not working.done(), working.exception()
            await asyncio.sleep(0)

    await go_on()
    await asyncio.to_thread(grow)
    await go_on()
    await asyncio.to_thread(migrate, database_url)  # the process of before is started again: nothing is left for it to do
    stop.set()
    await asyncio.gather(working, telling)
    async with database.reading() as reading:
        assert (await reading.execute(select(control_processes.c.id))).all() == []
        assert (await reading.execute(text("SELECT later FROM regions"))).scalar_one() == 7
    await database.close()
