"""Events are read by who goes on from the last id: none of a transaction that commits later may come to stand before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.event import EventKind
from fleetcast.schema.events import record_event
from fleetcast.schema.tables import events
from fleetcast.stores.database import Database, before_commit
from lock_waits import SOON_S, until_somebody_waits

WRITERS, EACH = 8, 20


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url)
    yield database
    await database.close()


class Reader:
    """Goes on from the last id it saw, as everybody does who reads events."""

    def __init__(self, database: Database) -> None:
        self.told: list[str] = []
        self._database = database
        self._reached = 0

    async def look(self) -> None:
        async with self._database.reading() as reading:
            rows = await reading.execute(select(events).where(events.c.id > self._reached).order_by(events.c.id))
        for row in rows:
            self.told.append(row.subject)
            self._reached = row.id


async def _tell(database: Database, *subjects: str) -> None:
    async with database.concurrent() as tx:
        for subject in subjects:
            record_event(tx, EventKind.SERVICE_PUT, subject)


async def test_a_later_commit_never_comes_before_what_was_read(server_database: Database) -> None:
    reader, wrote, go_on = Reader(server_database), asyncio.Event(), asyncio.Event()

    async def hold(tx: AsyncConnection, items: Sequence[Any]) -> None:
        wrote.set()
        await go_on.wait()

    async def tell_slowly() -> None:
        async with server_database.concurrent() as tx:
            record_event(tx, EventKind.SERVICE_PUT, "slow")
            before_commit(tx, hold, [None])

    async with asyncio.TaskGroup() as group:
        group.create_task(tell_slowly())
        await wrote.wait()
        group.create_task(_tell(server_database, "quick"))
        await until_somebody_waits(server_database)
        await reader.look()
        assert reader.told == [], "the quick one has not passed the slow one"
        go_on.set()
    await reader.look()
    assert reader.told == ["slow", "quick"]


async def test_who_reads_while_many_write_misses_nothing(database: Database) -> None:
    reader = Reader(database)
    expected = {f"{writer}.{number}.{part}" for writer in range(WRITERS) for number in range(EACH) for part in "ab"}

    async def write(writer: int) -> None:
        for number in range(EACH):
            await _tell(database, f"{writer}.{number}.a", f"{writer}.{number}.b")

    writing = asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    while not writing.done():
        await reader.look()
    await writing
    await reader.look()
    assert sorted(reader.told) == sorted(expected)
    for writer in range(WRITERS):
        own = [subject for subject in reader.told if subject.startswith(f"{writer}.")]
        assert own == [f"{writer}.{number}.{part}" for number in range(EACH) for part in "ab"], "in the order they happened"


async def test_what_is_told_in_a_transaction_that_waits_elsewhere_holds_nobody_up(server_database: Database) -> None:
    async with server_database.concurrent() as tx:
        record_event(tx, EventKind.SERVICE_PUT, "first")
        async with asyncio.timeout(SOON_S):
            await _tell(server_database, "second")
    async with server_database.reading() as reading:
        told = (await reading.execute(select(events.c.subject).order_by(events.c.id))).scalars().all()
        counted = (await reading.execute(select(func.count()).select_from(events))).scalar_one()
    assert (told, counted) == (["second", "first"], 2)
