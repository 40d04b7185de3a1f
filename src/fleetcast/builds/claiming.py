"""The rules of ``policy.py`` in SQL: the builds that so many workers get who ask at once.

The look is at live rows alone, through partial indexes: their conditions are written as literals, because neither engine uses
such an index for a parameter whose value it does not know.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import structlog
from sqlalchemy import and_, bindparam, case, func, literal, literal_column, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from fleetcast.builds.rows import build_of
from fleetcast.model.build import Build, BuildStatus, Lane, Recipe
from fleetcast.model.event import EventKind
from fleetcast.model.ids import Token
from fleetcast.model.limits import BUILD_URGENT_AHEAD_S, TOKEN_BYTES
from fleetcast.schema.columns import AnyRow, AnyRows
from fleetcast.schema.events import record_event
from fleetcast.schema.tables import jobs
from fleetcast.stores.database import now_ms

log = structlog.get_logger(__name__)

QUEUED: Final[ColumnElement[bool]] = jobs.c.status == literal_column(f"'{BuildStatus.QUEUED}'")
RUNNING: Final[ColumnElement[bool]] = jobs.c.status == literal_column(f"'{BuildStatus.RUNNING}'")
LIVE: Final[ColumnElement[bool]] = jobs.c.status.in_(
    [literal_column(f"'{BuildStatus.QUEUED}'"), literal_column(f"'{BuildStatus.RUNNING}'")]
)
ORDER: Final = (jobs.c.place, jobs.c.id)
"""In which builds are claimed."""
READY: Final[ColumnElement[bool]] = and_(QUEUED, or_(jobs.c.not_before.is_(None), jobs.c.not_before <= now_ms()))

_TAKEN: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"))
    .values(
        status=BuildStatus.RUNNING,
        attempt=bindparam("new_attempt"),
        token=bindparam("new_token"),
        worker=bindparam("new_worker"),
        reason="",
        not_before=None,
        claimed_at=bindparam("now"),
        started_at=bindparam("now"),
        last_heartbeat=bindparam("now"),
    )
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt, and the token that every write of it names."""

    build: Build
    token: Token
    repository: str
    trunk: str
    recipe: Recipe


def place_of(created_at: ColumnElement[Any], lane: Lane) -> ColumnElement[Any]:
    """:func:`fleetcast.builds.policy.place_ms` of a column, or of the clock."""
    return created_at - BUILD_URGENT_AHEAD_S * 1000 if lane is Lane.URGENT else created_at


@cache
def claimable(service_running_max: int) -> AnyRows:
    """The first rows of ``jobs`` in line, with ``now``, locked; at most one for each of the parameter ``workers``.

    Fewer than there are, but not none, when a service reaches its bound among them: who got nothing then looks again. Rows that
    somebody else has locked, to stop them for instance, are passed over. What runs is counted as it was when the statement
    began, so claims must not run beside each other (:data:`~fleetcast.schema.job_locks.CLAIMS`).
    """
    running = select(jobs.c.service, func.count().label("running")).where(RUNNING).group_by(jobs.c.service).cte("running")
    busy = func.coalesce(running.c.running, 0)
    urgent = case((jobs.c.lane == Lane.URGENT, 1), else_=0)
    first = (
        select(jobs.c.id, jobs.c.service, jobs.c.place, urgent.label("urgent"), busy.label("running"))
        .join_from(jobs, running, running.c.service == jobs.c.service, isouter=True)
        .where(READY, busy < literal(service_running_max) + urgent)
        .order_by(*ORDER)
        .limit(bindparam("workers"))
        .with_for_update(of=jobs, skip_locked=True)  # SQLite has one writer anyway and is not told
        .cte("first")
    )
    # Within the bound by its place among its service's own; beyond it, the first urgent one.
    nth = func.row_number().over(partition_by=first.c.service, order_by=(first.c.place, first.c.id))
    within = (nth <= service_running_max - first.c.running).label("within")
    ranked = select(first.c.id, first.c.service, first.c.place, first.c.urgent, first.c.running, within).cte("ranked")
    beyond = func.row_number().over(
        partition_by=(ranked.c.service, ranked.c.within, ranked.c.urgent), order_by=(ranked.c.place, ranked.c.id)
    )
    chosen = select(ranked.c.id, ranked.c.within, ranked.c.urgent, ranked.c.running, beyond.label("beyond")).cte("chosen")
    one_more = and_(chosen.c.urgent == 1, chosen.c.beyond == 1, chosen.c.running <= service_running_max)
    return (
        select(jobs, now_ms().label("now"))
        .join_from(jobs, chosen, chosen.c.id == jobs.c.id)
        .where(or_(chosen.c.within, one_more))
        .order_by(*ORDER)
    )


async def take(tx: AsyncConnection, workers: Sequence[str], service_running_max: int) -> list[Claim]:
    """Claim a build for each of the first of ``workers``; none: nothing can be claimed. Others may look again, as for
    :func:`claimable`."""
    rows = (await tx.execute(claimable(service_running_max), {"workers": len(workers)})).all()
    if not rows:
        return []
    claims = [_claim(row, worker) for row, worker in zip(rows, workers, strict=False)]
    await tx.execute(
        _TAKEN,
        [
            {
                "job": claim.build.id,
                "new_attempt": claim.build.attempt,
                "new_token": claim.token,
                "new_worker": claim.build.worker,
                "now": claim.build.last_heartbeat_ms,
            }
            for claim in claims
        ],
    )
    for build in (claim.build for claim in claims):
        text = f"attempt {build.attempt} by {build.worker}"
        record_event(tx, EventKind.BUILD_CLAIMED, build.id, service=build.service, state=build.status, text=text)
        log.info("build_claimed", build=build.id, name=build.name, worker=build.worker, attempt=build.attempt)
    return claims


def _claim(row: AnyRow, worker: str) -> Claim:
    """What becomes of a row of :func:`claimable`."""
    build = replace(
        build_of(row),
        status=BuildStatus.RUNNING,
        reason="",
        attempt=row.attempt + 1,
        worker=worker,
        last_heartbeat_ms=row.now,
        not_before_ms=None,
    )
    return Claim(build, Token(secrets.token_hex(TOKEN_BYTES)), row.repository, row.trunk, row.recipe)
