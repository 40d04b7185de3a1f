"""pgqueuer: jobs that wait or run in one table, every change of a state in another, where finished ones are kept."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.queries import Queries
from pgqueuer.types import QueueEntrypoint, QueueManagerId

from bench.queue.contestant import CONNECTIONS, Cycle

ENTRYPOINTS = {QueueEntrypoint("build"): EntrypointExecutionParameter(0)}
"""One, without a limit: it is at its quickest then."""
STALE_AFTER = timedelta(seconds=30)
"""Its default: a job is taken again whose heartbeat is older."""
_BATCH = 5000


class Pgqueuer:
    """Called as its queue manager does (``dequeue``, ``update_heartbeat``, ``log_jobs``), one job at a time, on a pool of
    asyncpg's, its fastest driver."""

    name = "pgqueuer"

    async def install(self, url: str) -> None:
        connection = await asyncpg.connect(url)
        await Queries.from_asyncpg_connection(connection).install()
        await connection.close()

    async def add_waiting(self, url: str, jobs: int) -> None:
        connection = await asyncpg.connect(url)
        queries = Queries.from_asyncpg_connection(connection)
        for start in range(0, jobs, _BATCH):
            batch = min(_BATCH, jobs - start)
            await queries.enqueue(["build"] * batch, [None] * batch, [0] * batch)
        await connection.close()

    async def add_finished(self, url: str, jobs: int) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(
            "INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority, created) "
            "SELECT number, 'successful', 'build', 0, now() - interval '1 hour' "
            "FROM generate_series(1, $1::bigint) AS number",
            jobs,
        )
        await connection.close()

    @asynccontextmanager
    async def callers(self, url: str, count: int) -> AsyncIterator[list[Cycle]]:
        async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
            queries = Queries.from_asyncpg_pool(pool)
            yield [_cycle(queries, QueueManagerId(uuid.uuid4())) for _ in range(count)]


def _cycle(queries: Queries, manager: QueueManagerId) -> Cycle:
    async def cycle() -> bool:
        jobs = await queries.dequeue(1, ENTRYPOINTS, manager, None, STALE_AFTER)
        if not jobs:
            return False
        await queries.update_heartbeat([jobs[0].id])
        await queries.log_jobs([(jobs[0], "successful", None)])
        return True

    return cycle
