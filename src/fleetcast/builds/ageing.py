"""Builds that ended long ago are forgotten, a bounded batch at a time; their sums stay in ``build_days``.

They are added up when they go, not when they end: one row a service and day, written at the end of every build, would be the
slowest row of all. The figures of a day are that row and the rows of ``jobs`` that are still there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from sqlalchemy import case, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.build import BuildStatus
from fleetcast.model.deployment import DEPLOYMENT_TRANSITIONS
from fleetcast.model.ids import BuildId
from fleetcast.model.limits import BUILDS_FORGOTTEN_AT_ONCE_MAX
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.tables import build_days, build_log, deployments, jobs
from fleetcast.schema.upsert import insert_into
from fleetcast.stores.database import Database, now_ms

log = structlog.get_logger(__name__)

DAY_MS: Final = 86_400_000
_BATCHES_MAX: Final = 20
"""In one turn; what is left goes in the next."""
_SUMS: Final = ("builds", "succeeded", "attempts", "claimed", "wait_ms", "build_ms")
_MOST: Final = ("wait_ms_max", "build_ms_max")

Sums = dict[str, int]


async def forget_builds(database: Database, kept_days: float) -> tuple[BuildId, ...]:
    """Forget what ended more than ``kept_days`` ago: its row, its log, and that deployments name it. An artifact keeps the
    number of the build that made it. Returns the builds.

    Safe to run many times at once: each transaction takes rows that nobody else has locked.
    """
    forgotten: list[BuildId] = []
    for _ in range(_BATCHES_MAX):
        async with database.transaction() as tx:
            batch = await _forget(tx, int(kept_days * DAY_MS), BUILDS_FORGOTTEN_AT_ONCE_MAX)
        forgotten += batch
        if len(batch) < BUILDS_FORGOTTEN_AT_ONCE_MAX:
            break
    if forgotten:
        log.info("builds_forgotten", count=len(forgotten))
    return tuple(forgotten)


def sums_of(rows: Iterable[AnyRow]) -> dict[tuple[str, int], Sums]:
    """The figures of rows of ``jobs`` that have ended, by service and day of the end."""
    found: dict[tuple[str, int], Sums] = defaultdict(lambda: dict.fromkeys((*_SUMS, *_MOST), 0))
    for row in rows:
        day = found[row.service, row.finished_at // DAY_MS]
        day["builds"] += 1
        day["succeeded"] += row.status == BuildStatus.SUCCEEDED
        day["attempts"] += row.attempt
        if row.started_at is not None:  # where a clock was set meanwhile, less than nothing is nothing
            wait_ms, build_ms = max(0, row.started_at - row.created_at), max(0, row.finished_at - row.started_at)
            add(day, {"claimed": 1, "wait_ms": wait_ms, "build_ms": build_ms, "wait_ms_max": wait_ms, "build_ms_max": build_ms})
    return dict(found)


def add(day: Sums, more: Sums) -> None:
    """Bring ``more`` into the figures of a day."""
    for name, value in more.items():
        day[name] = max(day[name], value) if name in _MOST else day[name] + value


async def _forget(tx: AsyncConnection, kept_ms: int, at_most: int) -> Sequence[BuildId]:
    unfinished = deployments.c.state.in_(tuple(DEPLOYMENT_TRANSITIONS))
    old = (
        select(
            jobs.c.id, jobs.c.service, jobs.c.status, jobs.c.attempt, jobs.c.created_at, jobs.c.started_at, jobs.c.finished_at
        )
        .where(jobs.c.finished_at.is_not(None), jobs.c.finished_at < now_ms() - kept_ms)
        .where(~exists().where(deployments.c.build_id == jobs.c.id, unfinished))
        .order_by(jobs.c.finished_at)
        .limit(at_most)
        .with_for_update(of=jobs, skip_locked=True)
    )
    rows = (await tx.execute(old)).all()
    builds = [BuildId(row.id) for row in rows]
    if builds:
        await _keep_sums(tx, rows)
        await tx.execute(delete(build_log).where(build_log.c.build_id.in_(builds)))
        await tx.execute(update(deployments).where(deployments.c.build_id.in_(builds)).values(build_id=None))
        await tx.execute(delete(jobs).where(jobs.c.id.in_(builds)))
    return builds


async def _keep_sums(tx: AsyncConnection, rows: Sequence[AnyRow]) -> None:
    statement = insert_into(tx, build_days)
    now, new = build_days.c, statement.excluded
    more = statement.on_conflict_do_update(
        index_elements=["service", "day"],
        set_={
            **{name: now[name] + new[name] for name in _SUMS},
            **{name: case((now[name] > new[name], now[name]), else_=new[name]) for name in _MOST},
        },
    )
    # In one order everywhere, so that nobody waits for somebody who waits for him.
    days = [{"service": service, "day": day, **sums} for (service, day), sums in sorted(sums_of(rows).items())]
    await tx.execute(more, days)
