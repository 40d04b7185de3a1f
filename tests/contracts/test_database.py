"""What every database promises (``stores/database.py``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.stores.database import Database, before_commit, now_ms

metadata = sa.MetaData()
counters = sa.Table("counters", metadata, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("value", sa.BigInteger))
notes = sa.Table("notes", metadata, sa.Column("counter", sa.ForeignKey("counters.id"), nullable=False))


@pytest.fixture
async def databases(empty_database_url: str) -> AsyncIterator[tuple[Database, Database]]:
    """One database, opened twice, as two processes would."""
    both = (await Database.open(empty_database_url), await Database.open(empty_database_url))
    async with both[0].transaction() as tx:
        await tx.run_sync(metadata.create_all)
        await tx.execute(counters.insert().values(id=1, value=0))
    yield both
    for database in both:
        await database.close()


async def value(database: Database) -> int:
    async with database.reading() as snapshot:
        return int((await snapshot.execute(sa.select(counters.c.value).where(counters.c.id == 1))).scalar_one())


async def test_what_a_transaction_wrote_everybody_reads(databases: tuple[Database, Database]) -> None:
    async with databases[0].transaction() as tx:
        await tx.execute(counters.update().values(value=7))
    assert await value(databases[1]) == 7


async def test_a_transaction_that_raises_wrote_nothing(databases: tuple[Database, Database]) -> None:
    async def write_and_raise() -> None:
        async with databases[0].transaction() as tx:
            await tx.execute(counters.update().values(value=7))
            raise LookupError

    with pytest.raises(LookupError):
        await write_and_raise()
    assert await value(databases[0]) == 0


async def test_read_then_write_is_never_lost_between_processes(databases: tuple[Database, Database]) -> None:
    async def raise_by_one(database: Database) -> None:
        async with database.transaction() as tx:
            found = (await tx.execute(sa.select(counters.c.value))).scalar_one()
            await tx.execute(counters.update().values(value=found + 1))

    await asyncio.gather(*(raise_by_one(databases[n % 2]) for n in range(40)))
    assert await value(databases[0]) == 40


async def test_a_snapshot_stays_as_it_was_while_others_write(databases: tuple[Database, Database]) -> None:
    select = sa.select(counters.c.value)
    async with databases[0].reading() as snapshot:
        assert (await snapshot.execute(select)).scalar_one() == 0
        for database in databases:
            async with database.transaction() as tx:
                await tx.execute(counters.update().values(value=counters.c.value + 1))
        assert (await snapshot.execute(select)).scalar_one() == 0
    assert await value(databases[0]) == 2


async def test_readers_do_not_wait_for_a_writer(databases: tuple[Database, Database]) -> None:
    async with databases[0].transaction() as tx:
        await tx.execute(counters.update().values(value=7))
        for database in databases:
            assert await asyncio.wait_for(value(database), 5) == 0


async def test_a_snapshot_cannot_write(databases: tuple[Database, Database]) -> None:
    with pytest.raises(DBAPIError):
        async with databases[0].reading() as snapshot:
            await snapshot.execute(counters.update().values(value=7))
    assert await value(databases[0]) == 0


async def test_a_cancelled_transaction_wrote_nothing_and_blocks_nobody(databases: tuple[Database, Database]) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with databases[0].transaction() as tx:
            await tx.execute(counters.update().values(value=7))
            inside.set()
            await asyncio.Event().wait()

    hanging = asyncio.create_task(hang())
    await inside.wait()
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    for database in databases:
        async with database.transaction() as tx:
            await tx.execute(counters.update().values(value=counters.c.value + 1))
    assert await value(databases[1]) == 2


async def test_foreign_keys_hold(databases: tuple[Database, Database]) -> None:
    with pytest.raises(IntegrityError):
        async with databases[0].transaction() as tx:
            await tx.execute(notes.insert().values(counter=99))


async def test_the_clock_is_utc_milliseconds(databases: tuple[Database, Database]) -> None:
    before = time.time_ns() // 1_000_000
    async with databases[0].reading() as snapshot:
        now = (await snapshot.execute(sa.select(now_ms()))).scalar_one()
    assert isinstance(now, int)
    assert before - 2 <= now <= time.time_ns() // 1_000_000 + 2


async def test_the_clock_can_be_written_and_compared(databases: tuple[Database, Database]) -> None:
    async with databases[0].transaction() as tx:
        await tx.execute(counters.update().values(value=now_ms() - 5000))
        silent = sa.select(counters.c.id).where(counters.c.value < now_ms() - 4000)
        assert (await tx.execute(silent)).scalars().all() == [1]
        silent = sa.select(counters.c.id).where(counters.c.value < now_ms() - 60_000)
        assert (await tx.execute(silent)).scalars().all() == []


async def test_what_is_for_the_end_of_a_transaction_is_written_once_and_refused_where_nothing_is(
    databases: tuple[Database, Database],
) -> None:
    async def write(tx: AsyncConnection, items: Sequence[int]) -> None:
        await tx.execute(counters.update().values(value=sum(items)))

    for begin in (databases[0].transaction, databases[0].concurrent):
        async with begin() as tx:
            before_commit(tx, write, [3])
            before_commit(tx, write, [4])
        assert await value(databases[1]) == 7
        async with begin() as tx:  # nothing of the last one is left to this one
            await tx.execute(counters.update().values(value=0))
        assert await value(databases[1]) == 0
    async with databases[0].reading() as snapshot:
        with pytest.raises(RuntimeError, match="cannot write"):
            before_commit(snapshot, write, [5])
    assert await value(databases[1]) == 0
