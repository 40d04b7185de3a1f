"""What builds took and how they ended, by service and day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, case, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.builds.ageing import DAY_MS, Sums, add
from fleetcast.model.build import BuildStatus
from fleetcast.model.ids import ServiceName
from fleetcast.model.messages.queue import BuildDay, BuildHistory
from fleetcast.schema.columns import AnyRows
from fleetcast.schema.tables import build_days, jobs
from fleetcast.stores.database import read_clock_ms

_FIGURES: Final = tuple(column.name for column in build_days.columns if not column.primary_key)
_EPOCH: Final = date(1970, 1, 1)
# A literal, so that PostgreSQL sees one expression where it is chosen and where it is grouped by.
_DAY: Final = (jobs.c.finished_at // literal_column(str(DAY_MS), BigInteger)).label("day")


async def build_history(reading: AsyncConnection, days: int, service: ServiceName | None = None) -> BuildHistory:
    """The last ``days`` days, today included (UTC), the newest first."""
    first = await read_clock_ms(reading) // DAY_MS - days + 1
    kept, ended = select(build_days).where(build_days.c.day >= first), _ended(first)
    if service is not None:
        kept, ended = kept.where(build_days.c.service == service), ended.where(jobs.c.service == service)
    found: dict[tuple[int, str], Sums] = {}
    for rows in (kept, ended):
        for row in await reading.execute(rows):
            sums = {name: int(row._mapping[name] or 0) for name in _FIGURES}
            key = (int(row.day), row.service)
            if key in found:
                add(found[key], sums)
            else:
                found[key] = sums
    newest_first = sorted(found.items(), key=lambda item: (-item[0][0], item[0][1]))
    return BuildHistory(days, tuple(_day(*key, sums) for key, sums in newest_first))


def _ended(first: int) -> AnyRows:
    """Rows as those of ``build_days``, of builds that are still there."""
    wait: Any = _at_least_0(jobs.c.started_at - jobs.c.created_at)
    build: Any = _at_least_0(jobs.c.finished_at - jobs.c.started_at)
    return (
        select(
            jobs.c.service,
            _DAY,
            func.count().label("builds"),
            func.sum(case((jobs.c.status == BuildStatus.SUCCEEDED, 1), else_=0)).label("succeeded"),
            func.sum(jobs.c.attempt).label("attempts"),
            func.count(jobs.c.started_at).label("claimed"),
            func.sum(wait).label("wait_ms"),
            func.max(wait).label("wait_ms_max"),
            func.sum(build).label("build_ms"),
            func.max(build).label("build_ms_max"),
        )
        .where(jobs.c.finished_at.is_not(None), jobs.c.finished_at >= first * DAY_MS)
        .group_by(jobs.c.service, _DAY)
    )


def _at_least_0(span: Any) -> Any:
    return case((span < 0, 0), else_=span)


def _day(day: int, service: str, sums: Sums) -> BuildDay:
    claimed = sums["claimed"] or 1
    return BuildDay(
        service=ServiceName(service),
        day=(_EPOCH + timedelta(days=day)).isoformat(),
        builds=sums["builds"],
        succeeded=sums["succeeded"],
        failed=sums["builds"] - sums["succeeded"],
        attempts=sums["attempts"],
        wait_s=sums["wait_ms"] / claimed / 1000,
        wait_s_max=sums["wait_ms_max"] / 1000,
        build_s=sums["build_ms"] / claimed / 1000,
        build_s_max=sums["build_ms_max"] / 1000,
    )
