"""What waits and runs, as people and whoever scales workers see it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.builds.claiming import LIVE
from fleetcast.builds.lease_rules import QueueLimits
from fleetcast.builds.policy import Job, Waiting, WaitsFor, line
from fleetcast.builds.rows import build_of
from fleetcast.builds.scaling import Load, wanted
from fleetcast.model.build import BuildStatus, Lane
from fleetcast.model.deployment import DEPLOYMENT_TRANSITIONS
from fleetcast.model.ids import BuildId, ServiceName
from fleetcast.model.limits import QUEUE_LISTED_MAX
from fleetcast.model.messages.queue import QueueStatus, RunningBuild, WaitingBuild
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.tables import deployments, jobs
from fleetcast.stores.database import now_ms

_LOOKED_AT: Final = (
    jobs.c.id,
    jobs.c.service,
    jobs.c.status,
    jobs.c.lane,
    jobs.c.created_at,
    jobs.c.not_before,
)


async def queue_status(reading: AsyncConnection, limits: QueueLimits, idle: int) -> QueueStatus:
    """``idle``: slots of workers that ask for a build. Every live row is looked at, few of them are listed."""
    rows = (await reading.execute(select(*_LOOKED_AT, now_ms().label("now")).where(LIVE))).all()
    now = rows[0].now if rows else 0
    known = [_job(row) for row in rows]
    waiting = line(known, now, limits.service_running_max)
    running = sorted((job for job in known if job.status is BuildStatus.RUNNING), key=lambda job: job.id)
    ready = [one for one in waiting if one.waits_for is WaitsFor.WORKER]
    load = Load(
        running=len(running),
        ready=len(ready),
        held_up=len(waiting) - len(ready),
        idle=idle,
        oldest_ready_s=_oldest_s(ready, now),
    )
    wish = wanted(load)
    shown = waiting[:QUEUE_LISTED_MAX], running[:QUEUE_LISTED_MAX]
    listed = [one.job.id for one in shown[0]] + [job.id for job in shown[1]]
    builds, lands_in = await _rows(reading, listed), await _lands_in(reading, listed)
    return QueueStatus(
        queued=len(waiting),
        ready=load.ready,
        urgent=sum(one.job.lane is Lane.URGENT for one in waiting),
        running=load.running,
        idle=idle,
        oldest_wait_s=_oldest_s(waiting, now),
        oldest_ready_s=load.oldest_ready_s,
        wanted_workers=wish.workers,
        why=wish.why,
        service_running_max=limits.service_running_max,
        waiting=tuple(
            WaitingBuild(
                build=build_of(builds[one.job.id]),
                position=one.position,
                waits_for=one.waits_for,
                text=_text(one, builds[one.job.id], now, limits, load),
                waited_s=max(0, now - one.job.created_at_ms) / 1000,
                lands_in=lands_in[one.job.id],
            )
            for one in shown[0]
        ),
        under_way=tuple(_running(builds[job.id], now, lands_in[job.id]) for job in shown[1]),
        more=len(known) - len(listed),
    )


def _job(row: AnyRow) -> Job:
    return Job(
        id=BuildId(row.id),
        service=ServiceName(row.service),
        status=BuildStatus(row.status),
        lane=Lane(row.lane),
        created_at_ms=row.created_at,
        not_before_ms=row.not_before or 0,
    )


def _oldest_s(waiting: Sequence[Waiting], now: int) -> float:
    return max((max(0, now - one.job.created_at_ms) / 1000 for one in waiting), default=0.0)


def _text(one: Waiting, row: AnyRow, now: int, limits: QueueLimits, load: Load) -> str:
    match one.waits_for:
        case WaitsFor.BACKOFF:
            return f"its next attempt in {max(0, one.job.not_before_ms - now) / 1000:.0f} s: {row.reason}"
        case WaitsFor.SERVICE:
            most = limits.service_running_max
            return f"{row.service} has {most} build{'s' if most > 1 else ''} running or before it, and may have no more"
        case _ if not load.idle and not load.running:
            return "no worker asks for builds at the moment: is one running?"
        case _:
            return f"a free worker, {one.position - 1} before it in line" if one.position > 1 else "the next free worker"


def _running(row: AnyRow, now: int, lands_in: tuple[str, ...]) -> RunningBuild:
    began, heard = row.started_at or row.created_at, row.last_heartbeat or row.created_at
    return RunningBuild(build_of(row), max(0, now - began) / 1000, max(0, now - heard) / 1000, lands_in)


async def _rows(reading: AsyncConnection, builds: Sequence[BuildId]) -> Mapping[BuildId, AnyRow]:
    return {BuildId(row.id): row for row in await reading.execute(select(jobs).where(jobs.c.id.in_(builds)))}


async def _lands_in(reading: AsyncConnection, builds: Sequence[BuildId]) -> Mapping[BuildId, tuple[str, ...]]:
    """The environments of the unfinished deployments that wait for each."""
    unfinished = deployments.c.state.in_(tuple(DEPLOYMENT_TRANSITIONS))
    waiting = select(deployments.c.build_id, deployments.c.environment).where(deployments.c.build_id.in_(builds), unfinished)
    found: dict[BuildId, set[str]] = defaultdict(set)
    for row in await reading.execute(waiting):
        found[BuildId(row.build_id)].add(row.environment)
    return {build: tuple(sorted(found[build])) for build in builds}
