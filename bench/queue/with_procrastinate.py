"""procrastinate: jobs in one table, every change told to a table of events by triggers, heartbeats by worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import procrastinate
import psycopg
from procrastinate.jobs import Status
from procrastinate.manager import JobManager

from bench.queue.contestant import CONNECTIONS, Cycle


class Procrastinate:
    """Called as its worker does: ``fetch_job``, ``update_heartbeat``, ``finish_job``; finished jobs stay, as by default."""

    name = "procrastinate"

    async def install(self, url: str) -> None:
        async with _app(url).open_async() as app:
            await app.schema_manager.apply_schema_async()

    async def add_waiting(self, url: str, jobs: int) -> None:
        await self._add(url, jobs, "todo")

    async def add_finished(self, url: str, jobs: int) -> None:
        await self._add(url, jobs, "succeeded")

    @asynccontextmanager
    async def callers(self, url: str, count: int) -> AsyncIterator[list[Cycle]]:
        async with _app(url).open_async() as app:
            yield [_cycle(app.job_manager, await app.job_manager.register_worker()) for _ in range(count)]

    async def _add(self, url: str, jobs: int, status: str) -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await connection.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, args, status) "
                "SELECT 'builds', 'build', jsonb_build_object('commit', number), %s::procrastinate_job_status "
                "FROM generate_series(1, %s) AS number",
                (status, jobs),
            )


def _app(url: str) -> procrastinate.App:
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=CONNECTIONS, max_size=CONNECTIONS))


def _cycle(manager: JobManager, worker: int) -> Cycle:
    async def cycle() -> bool:
        job = await manager.fetch_job(queues=None, worker_id=worker)
        if job is None:
            return False
        await manager.update_heartbeat(worker)
        await manager.finish_job(job, Status.SUCCEEDED, delete_job=False)
        return True

    return cycle
