"""What a PostgreSQL server may do to us, and what people are told of it: one line, without the password."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import text

from fleetcast.cli.demo.engines.postgres import PASSWORD, PostgresServer, postgres_server
from fleetcast.model.errors import FleetcastError, Unavailable, Unprocessable
from fleetcast.schema import migrate
from fleetcast.stores.database import Database


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """To be stopped and started: each test leaves it running."""
    with postgres_server() as server:
        server.create_database("here")
        yield server


@pytest.fixture
async def database(own_server: PostgresServer) -> AsyncIterator[Database]:
    database = await Database.open(own_server.url("here"))
    yield database
    await database.close()


async def _one(database: Database, query: str = "SELECT 1") -> object:
    async with database.reading() as reading:
        return (await reading.execute(text(query))).scalar_one()


async def test_a_restart_between_two_transactions_costs_nobody_anything(own_server: PostgresServer, database: Database) -> None:
    async def write() -> None:
        async with database.transaction() as tx:
            await tx.execute(text("SELECT 1"))

    await asyncio.gather(write(), *(_one(database) for _ in range(5)))
    own_server.stop()
    own_server.start()
    await asyncio.gather(write(), *(_one(database) for _ in range(5)))


async def test_while_it_is_away_that_is_said_and_afterwards_all_goes_on(own_server: PostgresServer, database: Database) -> None:
    await _one(database)
    own_server.crash()
    with pytest.raises(Unavailable, match="is it running there") as away:
        await _one(database)
    own_server.start()
    assert away.value.code == "database_away"
    assert PASSWORD not in away.value.message
    assert await _one(database) == 1


async def test_a_transaction_in_the_middle_is_lost_and_the_next_one_is_not(
    own_server: PostgresServer, database: Database
) -> None:
    async def in_the_middle() -> None:
        async with database.transaction() as tx:
            await tx.execute(text("CREATE TABLE lost (id INTEGER)"))
            own_server.crash()
            own_server.start()
            await tx.execute(text("SELECT 1"))

    with pytest.raises(Unavailable):
        await in_the_middle()
    assert await _one(database, "SELECT count(*) FROM pg_tables WHERE tablename = 'lost'") == 0
    async with database.transaction() as tx:
        await tx.execute(text("SELECT 1"))


@pytest.mark.parametrize(
    ("where", "password", "said"),
    [("here", "not-the-password", "correct user and password"), ("nowhere", PASSWORD, "create that database")],
)
async def test_who_is_not_let_in_is_told_what_to_correct(
    own_server: PostgresServer, where: str, password: str, said: str
) -> None:
    url = own_server.url(where, password=password)
    for attempt in (Database.open(url), asyncio.to_thread(migrate, url)):
        with pytest.raises(FleetcastError, match=said) as refused:
            await attempt
        assert refused.value.code == "database_refused"
        assert password not in refused.value.message
        assert "\n" not in refused.value.message


async def test_connections_run_out_and_that_is_said(own_server: PostgresServer, database: Database) -> None:
    with own_server.administrator() as connection:
        connection.execute("ALTER DATABASE here CONNECTION LIMIT 0")
        try:
            with pytest.raises(Unavailable, match="no connection left"):
                await Database.open(own_server.url("here"))
        finally:
            connection.execute("ALTER DATABASE here CONNECTION LIMIT -1")


async def test_what_it_cannot_keep_is_refused_as_the_callers_mistake(database: Database) -> None:
    async def keep(value: str, kind: str) -> None:
        async with database.transaction() as tx:
            await tx.execute(text(f"CREATE TEMPORARY TABLE words (word {kind}) ON COMMIT DROP"))
            await tx.execute(text("INSERT INTO words VALUES (:value)"), {"value": value})

    with pytest.raises(Unprocessable, match="NUL"):
        await keep("a\0b", "TEXT")
    with pytest.raises(Unprocessable, match="longer"):
        await keep("abc", "VARCHAR(2)")


async def test_a_server_that_takes_no_writes_is_said_to_be_one(database: Database) -> None:
    async def write() -> None:
        async with database.concurrent() as tx:
            await tx.execute(text("SET TRANSACTION READ ONLY"))  # as everything is on a standby
            await tx.execute(text("CREATE TABLE refused (id INTEGER)"))

    with pytest.raises(Unavailable, match="standby") as refused:
        await write()
    assert refused.value.code == "database_read_only"
