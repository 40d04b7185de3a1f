"""A company's tables with something in each of them, for tests of what takes them elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, insert, select
from sqlalchemy.types import TypeDecorator

from fleetcast.backups.restoring import set_last_ids
from fleetcast.backups.taking import take_backup
from fleetcast.model.deployment import DeploymentKind
from fleetcast.model.generation import Generation
from fleetcast.model.goal import EVERYONE, Cohort, Goal, Limits, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, ServiceName
from fleetcast.model.machine import Selector
from fleetcast.schema.columns import AsJson
from fleetcast.schema.plain_tables import plain_columns, plain_table
from fleetcast.schema.tables import metadata
from fleetcast.stores.database import Database
from fleetcast.stores.sqlite_kv import SqliteKv

WORDS: Final = 'text with "quotes", ümlauts, \\backslashes\\, 日本 and\na line end'
WORTH: Final = {"status": "RUNNING", "state": "DISTRIBUTING", "kind": DeploymentKind.DEPLOY}
"""Of columns that take certain words only. ``replicas.status`` is another."""


def goal(generation: Generation) -> Goal:
    release = ReleaseRef(ArtifactName("web/1"), Digest("d" * 64), Digest("e" * 64))
    everyone = (Cohort(Selector(), EVERYONE),)
    deployment = DeploymentId("1-deployments")
    return Goal(
        ServiceName("web"), "production", generation, deployment, False, Selector(), release, None, everyone, Limits(), 1
    )


def value_of(column: Column[Any], number: int) -> Any:
    """What a row has there: something that is hard to keep."""
    table = column.table.name
    if column.name in WORTH:
        return "COMPLETE" if (table, column.name) == ("replicas", "status") else WORTH[column.name]
    if column.name == "value" and table == "goals":
        return msgspec.json.encode(goal(Generation(3, 7)), order="deterministic").decode()
    if column.name == "epoch":
        return number
    if column.foreign_keys:
        (key,) = column.foreign_keys
        return value_of(key.column, number)
    kind = column.type.impl if isinstance(column.type, TypeDecorator) else column.type
    if isinstance(kind, Boolean):
        return number % 2 == 0
    if isinstance(kind, Integer):
        return number if column.primary_key else (2**53 if isinstance(kind, BigInteger) else 2**30) + number
    if isinstance(column.type, AsJson):
        return '{"b":[1,2],  "a":"' + str(number) + '"}'
    length = getattr(kind, "length", None)
    return f"{number}-{table}"[:length] if length or column.primary_key or column.unique else f"{WORDS} {number}"


def rows_of(table: Table) -> list[dict[str, Any]]:
    first, second = ({column.name: value_of(column, number) for column in table.columns} for number in (1, 2))
    optional = [column.name for column in table.columns if column.nullable]
    if table.name == "jobs":
        second["status"] = "SUCCEEDED"
    if table.name == "goals":
        first |= {"service": "web", "environment": "production", "epoch": 3, "counter": 7, "published": True}
        second |= {"epoch": 0, "counter": 0}
    return [first, {**second, **dict.fromkeys(optional)}]


@dataclass(frozen=True)
class Store:
    """One installation's engines."""

    url: str
    database: Database
    kv: SqliteKv

    async def rows(self, table: Table) -> list[dict[str, Any]]:
        async with self.database.reading() as reading:
            return [dict(row._mapping) for row in await reading.execute(select(table))]

    async def backup(self, path: Path) -> Path:
        await take_backup(self.database, self.kv, path)
        return path


async def fill(store: Store) -> None:
    """Two rows in every table there is: one with everything, one with as little as it may have."""
    async with store.database.transaction() as tx:
        columns = await tx.run_sync(plain_columns)
        for table in metadata.sorted_tables:
            plain = plain_table(table.name, columns[table.name])
            for row in rows_of(table):
                await tx.execute(insert(plain).values(**row))
        await tx.run_sync(lambda connection: set_last_ids(connection, {}))
    await store.kv.put("artifacts/" + "e" * 64, b'{"release":"\xff\x00"}')
    await store.kv.put("labels/m1", b"{}")
    await store.kv.put("goals/production/web", msgspec.json.encode(goal(Generation(3, 7))))
