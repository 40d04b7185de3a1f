"""What a restored backup does not know, and what has to become of that: people, regions and machines went on after it.

Attempts and claims that ran then are void, waiting counts from now, numbers that may have been given since are passed over, and
every goal is written anew in an epoch above all that were ever seen (law 3). So whoever holds something later gives way to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, case, func, insert, select, update

from fleetcast.backups.restoring import set_last_ids
from fleetcast.model.build import BuildStatus
from fleetcast.model.deployment import DEPLOYMENT_TRANSITIONS
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal
from fleetcast.model.limits import RESTORE_IDS_MIN, RESTORE_IDS_PER_S
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.installation_tables import control_processes, origins
from fleetcast.schema.machine_tables import machine_labels
from fleetcast.schema.origins import OriginKind
from fleetcast.schema.push_tables import commit_statuses, trunk_heads
from fleetcast.schema.rollout_tables import outside_checks, rollouts
from fleetcast.schema.tables import deployments, goals, jobs, machines, regions, replicas
from fleetcast.schema.webhook_tables import webhook_deliveries
from fleetcast.stores.database import now_ms

_UNFINISHED: Final = tuple(DEPLOYMENT_TRANSITIONS)
_REQUEUED: Final = "restored from a backup: its attempt is void"


@dataclass(frozen=True, slots=True)
class Begun:
    """A history that goes on from a backup."""

    epoch: int
    requeued: int
    """Builds that ran then."""
    unfinished: int
    """Deployments that go on."""
    goals: int
    """Services whose machines are told again what they should run."""


def begin_history(connection: Connection, *, taken_at_ms: int, seen_epoch: int, labels_lost: bool, source: str) -> Begun:
    """To be called in the transaction in which the tables were filled.

    ``seen_epoch``: the highest that anybody is known to hold. ``labels_lost``: the key-value store has none; then every machine
    is told that it was given none, unless it was.
    """
    now = int(connection.execute(select(now_ms())).scalar_one())
    requeued = void_attempts(connection, _REQUEUED)
    unfinished = _count_from_now(connection)
    known = connection.execute(select(func.max(goals.c.epoch))).scalar_one() or 0
    epoch = max(now, 1 + max(seen_epoch, known, connection.execute(select(func.max(origins.c.epoch))).scalar_one() or 0))
    written = _raise_goals(connection, epoch)
    # Buckets have gone on too: all of them are looked into again.
    connection.execute(update(replicas).values(checked_at=0))
    if labels_lost:
        _give_no_labels(connection, now)
    set_last_ids(connection, {}, ahead=max(RESTORE_IDS_MIN, (now - taken_at_ms) // 1000 * RESTORE_IDS_PER_S))
    connection.execute(insert(origins).values(kind=OriginKind.RESTORED, at=now, epoch=epoch, text=source))
    return Begun(epoch, requeued, unfinished, written)


def void_attempts(connection: Connection, reason: str) -> int:
    """Nobody holds anything any more: builds that ran are queued again, claims are free. How many builds that were."""
    ran = update(jobs).where(jobs.c.status == BuildStatus.RUNNING)
    values: dict[str, Any] = {"status": BuildStatus.QUEUED, "token": None, "worker": "", "claimed_at": None, "not_before": None}
    requeued = connection.execute(ran.values(**values, reason=reason, queued_at=now_ms())).rowcount
    connection.execute(update(deployments).values(token=None, claim_expires_at=None))
    for table in (trunk_heads, commit_statuses, webhook_deliveries, outside_checks):
        connection.execute(update(table).values(token=None, claim_expires_at=None))
    connection.execute(control_processes.delete())
    return requeued


def _count_from_now(connection: Connection) -> int:
    """Nothing is too late for the time in which nobody could do anything about it. How many deployments are unfinished."""
    connection.execute(update(jobs).where(jobs.c.status == BuildStatus.QUEUED).values(queued_at=now_ms()))
    connection.execute(update(regions).where(regions.c.last_report_at.is_not(None)).values(last_report_at=now_ms()))
    failing = outside_checks.c.not_passed_since.is_not(None)
    connection.execute(update(outside_checks).where(failing).values(not_passed_since=now_ms()))
    unfinished = deployments.c.state.in_(_UNFINISHED)
    waves = update(rollouts).where(rollouts.c.deployment.in_(select(deployments.c.id).where(unfinished)))
    for column in (rollouts.c.wave_at, rollouts.c.healthy_at, rollouts.c.paused_at):
        connection.execute(waves.where(column.is_not(None)).values({column: now_ms()}))
    stamped = update(deployments).where(unfinished)
    return connection.execute(
        stamped.values(
            built_at=case((deployments.c.built_at.is_not(None), now_ms())),
            goal_at=case((deployments.c.goal_at.is_not(None), now_ms())),
        )
    ).rowcount


def _raise_goals(connection: Connection, epoch: int) -> int:
    """How many there are. Those that have none yet begin in this epoch."""
    connection.execute(update(goals).where(goals.c.value.is_(None)).values(epoch=epoch, counter=0))
    rows = connection.execute(select(goals).where(goals.c.value.is_not(None))).all()
    for row in rows:
        goal = replace(msgspec.json.decode(row.value, type=Goal), generation=Generation(epoch, 1))
        generation = {"epoch": epoch, "counter": 1}
        value = msgspec.json.encode(goal, order="deterministic").decode()
        which = goals.c.service == row.service, goals.c.environment == row.environment
        connection.execute(update(goals).where(*which).values(value=value, published=False, **generation))
        connection.execute(update(deployments).where(deployments.c.id == goal.deployment).values(**generation))
    return len(rows)


def _give_no_labels(connection: Connection, now: int) -> None:
    """Regions and machines may hold labels that were given after the backup, and only other ones take those away."""
    given = select(machine_labels.c.machine)
    missing: list[AnyRow] = list(connection.execute(select(machines.c.id).where(machines.c.id.not_in(given))).all())
    empty = [{"machine": row.id, "labels": {}, "updated_at": now, "published": False} for row in missing]
    if empty:
        connection.execute(insert(machine_labels), empty)
    connection.execute(update(machine_labels).values(published=False))
