"""Fleetcast's queue, called as control calls it for its workers, on PostgreSQL or on SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import BigInteger, bindparam, text

from bench.queue.contestant import Cycle
from fleetcast.builds.queue import BuildQueue, QueueLimits
from fleetcast.model.build import BuildStatus, Recipe
from fleetcast.schema import migrate
from fleetcast.schema.columns import AsJson
from fleetcast.stores.database import Database, read_clock_ms

SERVICES = 200
LIMITS = QueueLimits(attempts_max=3, queued_s_max=7200, silence_s_max=600)
_MONTH_MS = 30 * 24 * 3600 * 1000
_ADD = text(
    f"""
    INSERT INTO jobs (created_at, queued_at, place, name, commit_sha, status, service, build_number, repository, trunk, recipe,
        attempt, claimed_at, started_at, last_heartbeat, finished_at)
    WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :count),
    named AS (
        SELECT number, :created + number AS at, 'service-' || (number % {SERVICES}) AS service,
            CAST(1000000000 + number AS TEXT) || '{"0" * 30}' AS sha FROM numbers)
    SELECT at, at, at, service || '/' || sha, sha, :status, service, 1, '/repo', 'main', :recipe,
        coalesce(:ended, 0), at * :ended, at * :ended, at * :ended, (at + 1) * :ended
    FROM named
    """
).bindparams(
    bindparam("recipe", type_=AsJson(Recipe)),
    bindparam("ended", type_=BigInteger),
    bindparam("created", type_=BigInteger),
    bindparam("count", type_=BigInteger),
)
"""Jobs of :data:`SERVICES` services, one a millisecond."""


class Fleetcast:
    """Its claims keep a bound per service, each write is refused to whoever does not hold the build, each change is an event,
    and an end adds the build's artifact: no other contestant does as much."""

    name = "fleetcast"

    async def install(self, url: str) -> None:
        await asyncio.to_thread(migrate, ours_url(url))

    async def add_waiting(self, url: str, jobs: int) -> None:
        await _add(url, jobs, BuildStatus.QUEUED)

    async def add_finished(self, url: str, jobs: int) -> None:
        await _add(url, jobs, BuildStatus.SUCCEEDED)

    @asynccontextmanager
    async def callers(self, url: str, count: int) -> AsyncIterator[list[Cycle]]:
        database = await Database.open(ours_url(url))
        try:
            queue = BuildQueue(database, LIMITS)
            yield [_cycle(queue, f"worker-{number}") for number in range(count)]
        finally:
            await database.close()


def _cycle(queue: BuildQueue, worker: str) -> Cycle:
    async def cycle() -> bool:
        claimed = await queue.claim(worker)
        if claimed is None:
            return False
        build = claimed.build
        await queue.heartbeat(build.id, claimed.token)
        blob = f"builds/{build.id}/{build.attempt}/content"
        artifact = {
            "name": build.name,
            "service": build.service,
            "commit_sha": build.commit_sha,
            "build_number": 1,
            "build_id": build.id,
            "attempt": build.attempt,
            "trunk": claimed.trunk,
            "digest": claimed.token,
            "root": claimed.token,
            "envelope": "{}",
            "manifest_size": 1,
            "content_size": 1,
            "manifest_blob": f"builds/{build.id}/{build.attempt}/manifest",
            "content_blob": blob,
        }
        await queue.publish(build.id, claimed.token, blob, artifact)
        return True

    return cycle


async def _add(url: str, count: int, status: BuildStatus) -> None:
    database = await Database.open(ours_url(url))
    try:
        async with database.transaction() as tx:
            now = await read_clock_ms(tx)
            given = {"count": count, "status": status, "created": now - _MONTH_MS if status.ended else now - count}
            await tx.execute(
                _ADD, {**given, "ended": 1 if status.ended else None, "recipe": Recipe(build="make", output="out")}
            )
    finally:
        await database.close()


def ours_url(url: str) -> str:
    """As :class:`Database` takes it."""
    return url.replace("postgresql://", "postgresql+psycopg://")
