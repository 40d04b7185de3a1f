"""What is to be told about commits, in SQL: made from the events, in their order, and kept until it has arrived.

One row for each line beside a commit, with its newest state: what was overtaken before it was sent is never sent. The cursor in
the events is one for all control processes. Rows are claimed with a lease by the database's clock and a token (law 1).

Admitted: a process that is stopped for longer than its lease in the middle of a request may tell an old state after another
process told a newer one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import case, delete, func, null, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.control import outboxes
from fleetcast.control.statuses.showing import BEGINS, ENDS, CommitStatus, Forge, Shown, described, shown
from fleetcast.model.limits import (
    STATUS_EVENTS_MAX,
    STATUS_LEASE_S,
    STATUS_TOLD_S_MAX,
    STATUSES_AT_ONCE_MAX,
    STATUSES_KEPT_S,
)
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.push_tables import commit_statuses
from fleetcast.schema.tables import deployments, jobs, services
from fleetcast.schema.upsert import insert_into
from fleetcast.stores.database import Database, now_ms, read_clock_ms

READER: Final = "commit statuses"
_KINDS: Final = BEGINS | ENDS
_KEY: Final = ("service", "commit_sha", "kind")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A status that this process is to tell."""

    id: int
    event_id: int
    failures: int
    token: str
    status: CommitStatus


async def gather(database: Database, forges: Sequence[Forge]) -> bool:
    """Take the next events into the outbox. Returns whether there may be more. The first time it begins with the newest."""

    async def put(tx: AsyncConnection, rows: Sequence[AnyRow]) -> None:
        oldest = await read_clock_ms(tx) - STATUS_TOLD_S_MAX * 1000
        await _put(tx, forges, [row for row in rows if row.kind in _KINDS and row.at >= oldest])

    return await outboxes.read_on(database, READER, STATUS_EVENTS_MAX, put)


async def claim(database: Database, forge: Forge) -> tuple[Claimed, ...]:
    """Up to ``STATUSES_AT_ONCE_MAX`` that are due, those that wait longest first."""
    rows = await outboxes.claim(
        database,
        commit_statuses,
        commit_statuses.c.forge == forge.name,
        order=commit_statuses.c.send_at,
        at_once=STATUSES_AT_ONCE_MAX,
        lease_s=STATUS_LEASE_S,
    )
    return tuple(Claimed(row.id, row.event_id, row.failures, row.token, _status(row)) for row in rows)


async def told(database: Database, one: Claimed) -> None:
    """It has arrived. What happened meanwhile is sent next."""
    unchanged = commit_statuses.c.event_id == one.event_id
    await _end(
        database, one, failures=0, error="", told_event_id=one.event_id, send_at=case((unchanged, null()), else_=now_ms())
    )


async def not_told(database: Database, one: Claimed, why: str, again_in_s: float | None) -> None:
    """It has not arrived, and is tried again so much later, for up to ``STATUS_TOLD_S_MAX``; ``None``: never."""
    too_old = commit_statuses.c.updated_at < now_ms() - STATUS_TOLD_S_MAX * 1000
    again: Any = null() if again_in_s is None else case((too_old, null()), else_=now_ms() + int(again_in_s * 1000))
    newer = commit_statuses.c.event_id != one.event_id
    await _end(database, one, failures=one.failures + 1, error=why, send_at=case((newer, now_ms()), else_=again))


async def forget_statuses(tx: AsyncConnection) -> int:
    """Forget what changed last ``STATUSES_KEPT_S`` ago. Returns how many."""
    old = commit_statuses.c.updated_at < now_ms() - STATUSES_KEPT_S * 1000
    return (await tx.execute(delete(commit_statuses).where(old))).rowcount


async def untold(reading: AsyncConnection) -> Sequence[str]:
    """Servers that could not be told, in a line each. What nobody tells any more, its server being no longer set up, is none
    after a day."""
    lately = commit_statuses.c.updated_at >= now_ms() - STATUS_TOLD_S_MAX * 1000
    waiting = (
        select(commit_statuses.c.forge, func.count().label("count"), func.max(commit_statuses.c.error).label("error"))
        .where(commit_statuses.c.send_at.is_not(None), commit_statuses.c.failures > 0, lately)
        .group_by(commit_statuses.c.forge)
        .order_by(commit_statuses.c.forge)
    )
    return [f"{row.count} commit statuses wait for {row.forge}: {row.error}" for row in await reading.execute(waiting)]


async def _put(tx: AsyncConnection, forges: Sequence[Forge], found: Sequence[AnyRow]) -> None:
    """Bring the outbox to what these events say. The end of what a later trigger has replaced is nobody's news."""
    commits = await _commits(tx, found)
    keys = {(sha, row.service) for row in found if (sha := commits.get((row.kind.partition(".")[0], row.subject), ("", ""))[0])}
    there = select(commit_statuses).where(
        commit_statuses.c.commit_sha.in_({sha for sha, _ in keys}), commit_statuses.c.service.in_({name for _, name in keys})
    )
    subjects = {tuple(getattr(row, name) for name in _KEY): row.subject for row in await tx.execute(there)}
    wanted: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for event in found:
        sha, repository = commits.get((event.kind.partition(".")[0], event.subject), ("", ""))
        where = next(((forge.name, path) for forge in forges if (path := forge.repository(repository))), None)
        if not sha or where is None:
            continue
        key = (event.service, sha, "build" if event.kind.startswith("build") else "deploy")
        if event.kind in ENDS and subjects.get(key, event.subject) != event.subject:
            continue
        subjects[key] = event.subject
        text = described(event.kind, event.subject, event.state, event.text)
        wanted[key] = {
            "forge": where[0],
            "repository": where[1],
            "state": shown(event.kind, event.state).value,
            "description": text,
            "subject": event.subject,
            "event_id": event.id,
        }
    if wanted:
        await _write(tx, wanted)


async def _write(tx: AsyncConnection, wanted: Mapping[tuple[str, ...], Mapping[str, Any]]) -> None:
    now = await read_clock_ms(tx)
    fresh = {"updated_at": now, "send_at": now, "failures": 0, "error": ""}
    rows = [{**dict(zip(_KEY, key, strict=True)), **values, **fresh} for key, values in wanted.items()]
    insert = insert_into(tx, commit_statuses)
    changed = {name: insert.excluded[name] for name in rows[0] if name not in _KEY}
    await tx.execute(insert.on_conflict_do_update(index_elements=list(_KEY), set_=changed), rows)


async def _commits(tx: AsyncConnection, found: Sequence[AnyRow]) -> Mapping[tuple[str, str], tuple[str, str]]:
    """Commit and repository of what events are about."""
    builds = [int(row.subject) for row in found if row.kind.startswith("build")]
    others = [row.subject for row in found if row.kind.startswith("deployment")]
    of_builds = select(jobs.c.id, jobs.c.commit_sha, jobs.c.repository).where(jobs.c.id.in_(builds))
    of_others = (
        select(deployments.c.id, deployments.c.commit_sha, services.c.repository)
        .join(services, services.c.name == deployments.c.service)
        .where(deployments.c.id.in_(others))
    )
    commits = {("build", str(row.id)): (row.commit_sha, row.repository) for row in await tx.execute(of_builds)}
    return commits | {("deployment", row.id): (row.commit_sha, row.repository) for row in await tx.execute(of_others)}


async def _end(database: Database, one: Claimed, **values: Any) -> None:
    async with database.transaction() as tx:
        await outboxes.end_claim(tx, commit_statuses, one.id, one.token, **values)


def _status(row: AnyRow) -> CommitStatus:
    return CommitStatus(row.repository, row.service, row.commit_sha, row.kind, row.subject, Shown(row.state), row.description)
