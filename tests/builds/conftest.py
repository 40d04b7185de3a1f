"""A migrated database in a file, and a queue on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from fleetcast.builds.queue import BuildQueue, QueueLimits
from fleetcast.model.build import BuildOrder, Lane, Recipe
from fleetcast.model.ids import BuildId, CommitSha, ServiceName
from fleetcast.schema.tables import jobs
from fleetcast.stores.database import Database
from fleetcast.stores.directory_blobs import DirectoryBlobs

LIMITS = QueueLimits(attempts_max=3, queued_s_max=7200, silence_s_max=600, running_s_max=1800)

Enqueue = Callable[..., Awaitable[BuildId]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture
def store(tmp_path: Path) -> DirectoryBlobs:
    """The main store."""
    return DirectoryBlobs(tmp_path / "bucket", data_url="http://127.0.0.1:9", data_key=b"key")


@pytest.fixture
def queue(database: Database) -> BuildQueue:
    return BuildQueue(database, LIMITS)


@pytest.fixture
def enqueue(database: Database, queue: BuildQueue) -> Enqueue:
    """``await enqueue("a")`` queues the commit ``aaaa…`` of ``web``; ``number`` and ``trunk`` as in an order."""

    async def one(
        commit: str = "a",
        *,
        service: str = "web",
        number: int = 1,
        trunk: str = "main",
        recipe: Recipe | None = None,
        lane: Lane = Lane.ORDINARY,
    ) -> BuildId:
        order = BuildOrder(ServiceName(service), CommitSha(commit * 40), "/repo", trunk, recipe or Recipe(build="make"), number)
        async with database.transaction() as tx:
            return await queue.enqueue(tx, order, lane=lane)

    return one


@pytest.fixture
def passed(database: Database) -> Callable[[BuildId, float], Awaitable[None]]:
    """``await passed(build, 700)``: for this build, everything so far happened 700 seconds earlier."""

    async def move(build: BuildId, seconds: float) -> None:
        ms = int(seconds * 1000)
        async with database.transaction() as tx:
            await tx.execute(
                update(jobs)
                .where(jobs.c.id == build)
                .values(
                    created_at=jobs.c.created_at - ms,
                    place=jobs.c.place - ms,
                    not_before=jobs.c.not_before - ms,
                    queued_at=jobs.c.queued_at - ms,
                    claimed_at=jobs.c.claimed_at - ms,
                    last_heartbeat=jobs.c.last_heartbeat - ms,
                    finished_at=jobs.c.finished_at - ms,
                )
            )

    return move
