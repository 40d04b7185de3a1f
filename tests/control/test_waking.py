"""A claim that waits is woken by a build that another process queued: by a notice of the database, or else by the look."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fleetcast.builds.queue import BuildQueue, QueueLimits
from fleetcast.cli.demo.engines.postgres import PostgresServer, postgres_server
from fleetcast.http.tokens import Role
from fleetcast.model.build import BuildOrder, Recipe
from fleetcast.model.errors import Unavailable
from fleetcast.model.ids import CommitSha, ServiceName
from fleetcast.stores.database import Database

pytestmark = pytest.mark.one_engine  # they bring a server of their own
NEVER_S = 3600.0
SOON_S = 20.0
"""Well before a held claim would look by itself, which it does when its wait is over."""


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def urls(postgres: PostgresServer, migrated_template: str) -> Iterator[tuple[str, str]]:
    """Two databases of one server."""
    yield postgres.create_database("waking", template=migrated_template), postgres.create_database("other")
    for name in ("waking", "other"):
        postgres.drop_database(name)


async def _queue_elsewhere(url: str, commit: str) -> None:
    """As another control process does."""
    database = await Database.open(url)
    queue = BuildQueue(database, QueueLimits(attempts_max=3, queued_s_max=7200, silence_s_max=600))
    order = BuildOrder(ServiceName("web"), CommitSha(commit * 40), "/repo", "main", Recipe(build="make"), 1)
    async with database.transaction() as tx:
        await queue.enqueue(tx, order)
    await database.close()


@contextlib.asynccontextmanager
async def _waiting(installation: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """A worker's claim that is held, having found nothing."""
    worker, admin = await installation.client(Role.WORKER), await installation.client(Role.ADMIN)
    claim = asyncio.create_task(worker.claim("w1", wait_s=30))
    try:
        async with asyncio.timeout(SOON_S):
            while (await admin.queue()).idle == 0:  # noqa: ASYNC110 -- it is another process that knows
                await asyncio.sleep(0.01)
        yield claim
    finally:
        claim.cancel()
        await asyncio.gather(claim, return_exceptions=True)


async def test_a_build_queued_by_another_process_wakes_it(control: Any, urls: tuple[str, str]) -> None:
    async with control(database_url=urls[0], claim_poll_interval_s=NEVER_S) as installation, _waiting(installation) as claim:
        await _queue_elsewhere(urls[0], "a")
        async with asyncio.timeout(SOON_S):
            assert (await claim).commit_sha == "a" * 40


async def test_without_a_notice_the_look_finds_it(control: Any, urls: tuple[str, str]) -> None:
    listening_elsewhere = {"notice_database_url": urls[1], "claim_poll_interval_s": 0.1}
    async with control(database_url=urls[0], **listening_elsewhere) as installation, _waiting(installation) as claim:
        await _queue_elsewhere(urls[0], "a")
        async with asyncio.timeout(SOON_S):
            assert (await claim).commit_sha == "a" * 40


async def test_the_server_is_restarted_and_it_is_woken_all_the_same(control: Any, own_server: PostgresServer) -> None:
    url = own_server.create_database("fresh")
    async with control(database_url=url, claim_poll_interval_s=NEVER_S) as installation:
        own_server.crash()
        with pytest.raises(Unavailable):
            await (await installation.client(Role.ADMIN)).queue()
        own_server.start()
        async with _waiting(installation) as claim:
            await _queue_elsewhere(url, "a")
            async with asyncio.timeout(SOON_S):
                assert (await claim).commit_sha == "a" * 40
