"""What webhooks are to be told, in SQL: a row for each event and webhook, kept until it has arrived or is given up.

One webhook is told one thing at a time, in the order of events as long as it takes all of them. What it did not take is tried
again later, and may then arrive after what came later: the id of the event in it says which was first.

Admitted: a process that is stopped for longer than its lease in the middle of a request sends what another has sent again.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, case, delete, exists, func, insert, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.control import outboxes
from fleetcast.control.webhooks.writing import About, body
from fleetcast.model.event import Event
from fleetcast.model.limits import (
    WEBHOOK_DELIVERIES_KEPT_S,
    WEBHOOK_GATHERED_MAX,
    WEBHOOK_LEASE_S,
    WEBHOOK_TOLD_S_MAX,
    WEBHOOK_WAITING_MAX,
)
from fleetcast.model.webhook import WebhookForm, asks_for
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.tables import deployments, jobs
from fleetcast.schema.webhook_tables import webhook_deliveries, webhooks
from fleetcast.stores.database import Database, now_ms, read_clock_ms

READER: Final = "webhooks"
_D: Final = webhook_deliveries
_OVERFLOWN: Final = f"more than {WEBHOOK_WAITING_MAX} waited"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process is to make."""

    id: int
    webhook: str
    message: str
    kind: str
    body: str
    failures: int
    token: str
    url: str = field(repr=False)
    secret: str = field(repr=False)
    webhook_failures: int


async def gather(database: Database) -> bool:
    """Take the next events into the outbox. Returns whether there may be more."""
    async with database.reading() as reading:
        since = (await reading.execute(select(func.min(webhooks.c.since_event_id)))).scalar_one_or_none()
    return since is not None and await outboxes.read_on(database, READER, WEBHOOK_GATHERED_MAX, _put, since=since)


async def due(database: Database) -> Sequence[str]:
    """Webhooks that can be told something now."""
    async with database.reading() as reading:
        names = select(webhooks.c.name).where(_ready(), exists().where(_D.c.webhook == webhooks.c.name, outboxes.is_due(_D)))
        return (await reading.execute(names)).scalars().all()


async def claim(database: Database, webhook: str) -> Claimed | None:
    """What is due for a webhook, of the oldest event; ``None``: nothing is, or it is being told something."""
    other = _D.alias()
    busy = exists().where(other.c.webhook == webhook, other.c.token.is_not(None), other.c.claim_expires_at >= now_ms())
    ready = exists().where(webhooks.c.name == webhook, _ready())
    rows = await outboxes.claim(
        database, _D, _D.c.webhook == webhook, ready, ~busy, order=_D.c.event_id, at_once=1, lease_s=WEBHOOK_LEASE_S
    )
    if not rows:
        return None
    (row,) = rows
    async with database.reading() as reading:
        to = (await reading.execute(select(webhooks).where(webhooks.c.name == webhook))).one_or_none()
    if to is None:
        return None  # removed this moment, the delivery with it
    return Claimed(row.id, webhook, row.message, row.kind, row.body, row.failures, row.token, to.url, to.secret, to.failures)


async def delivered(database: Database, one: Claimed, status: int) -> None:
    """It has arrived."""
    async with database.transaction() as tx:
        if await outboxes.end_claim(tx, _D, one.id, one.token, failures=0, error="", send_at=null(), ended_at=now_ms()):
            await note_outcome(tx, one.webhook, one.kind, status, "", failures=0, again_at=None)


async def not_delivered(database: Database, one: Claimed, status: int | None, why: str, again_in_s: float | None) -> None:
    """It has not arrived, and is tried again so much later, for up to ``WEBHOOK_TOLD_S_MAX``; ``None``: never.

    The webhook is left alone for as long: what comes later is not sent into the void either. A refusal of this delivery alone
    holds up no other.
    """
    too_old = _D.c.created_at < now_ms() - WEBHOOK_TOLD_S_MAX * 1000
    send_at: Any = null()
    ended_at: Any = now_ms()
    again_at: Any = null()
    failures = 0
    if again_in_s is not None:
        again_at = now_ms() + int(again_in_s * 1000)
        send_at, ended_at = case((too_old, null()), else_=again_at), case((too_old, now_ms()))
        failures = one.webhook_failures + 1
    async with database.transaction() as tx:
        values = {"failures": one.failures + 1, "error": why, "send_at": send_at, "ended_at": ended_at}
        if await outboxes.end_claim(tx, _D, one.id, one.token, **values):
            await note_outcome(tx, one.webhook, one.kind, status, why, failures=failures, again_at=again_at)


async def note_outcome(tx: AsyncConnection, webhook: str, kind: str, status: int | None, error: str, **more: Any) -> None:
    """Remember what came of the last request to a webhook."""
    last = {"last_at": now_ms(), "last_kind": kind, "last_status": status, "last_error": error}
    await tx.execute(update(webhooks).where(webhooks.c.name == webhook).values(**last, **more))


async def forget_webhook_deliveries(tx: AsyncConnection) -> int:
    """Give up what waits above ``WEBHOOK_WAITING_MAX``, the oldest first, and forget what ended ``WEBHOOK_DELIVERIES_KEPT_S``
    ago. Returns how many were forgotten."""
    waiting = select(_D.c.webhook, func.count()).where(_D.c.send_at.is_not(None)).group_by(_D.c.webhook)
    for webhook, count in (await tx.execute(waiting.having(func.count() > WEBHOOK_WAITING_MAX))).all():
        surplus = select(_D.c.id).where(_D.c.webhook == webhook, _D.c.send_at.is_not(None))
        oldest = surplus.order_by(_D.c.event_id).limit(count - WEBHOOK_WAITING_MAX)
        given_up = update(_D).where(_D.c.id.in_(oldest))
        await tx.execute(given_up.values(send_at=None, ended_at=now_ms(), error=_OVERFLOWN, token=None, claim_expires_at=None))
    old = _D.c.ended_at < now_ms() - WEBHOOK_DELIVERIES_KEPT_S * 1000
    return (await tx.execute(delete(_D).where(old))).rowcount


async def _put(tx: AsyncConnection, found: Sequence[AnyRow]) -> None:
    """A delivery for each webhook that asks for an event."""
    asking = (await tx.execute(select(webhooks))).all()
    about = await _about(tx, found)
    now = await read_clock_ms(tx)
    rows = [
        {
            "webhook": webhook.name,
            "message": f"msg_{secrets.token_hex(12)}",
            "event_id": row.id,
            "kind": row.kind,
            "body": body(WebhookForm(webhook.form), _event(row), about.get((_noun(row), row.subject), About())),
            "created_at": now,
            "send_at": now,
        }
        for row in found
        for webhook in asking
        if row.id > webhook.since_event_id
        and asks_for(webhook.events, row.kind)
        and (not webhook.services or row.service in webhook.services)
    ]
    if rows:
        await tx.execute(insert(_D), rows)


async def _about(tx: AsyncConnection, found: Sequence[AnyRow]) -> Mapping[tuple[str, str], About]:
    builds = [int(row.subject) for row in found if _noun(row) == "build"]
    others = [row.subject for row in found if _noun(row) == "deployment"]
    of_builds = select(jobs.c.id, jobs.c.commit_sha).where(jobs.c.id.in_(builds))
    of_others = select(deployments.c.id, deployments.c.commit_sha, deployments.c.environment)
    known = {("build", str(row.id)): About(row.commit_sha) for row in await tx.execute(of_builds)}
    rows = await tx.execute(of_others.where(deployments.c.id.in_(others)))
    return known | {("deployment", row.id): About(row.commit_sha, row.environment) for row in rows}


def _noun(row: AnyRow) -> str:
    return str(row.kind).partition(".")[0]


def _event(row: AnyRow) -> Event:
    return Event(row.id, row.at, row.kind, row.service, row.subject, row.state, row.text)


def _ready() -> ColumnElement[bool]:
    return or_(webhooks.c.again_at.is_(None), webhooks.c.again_at <= now_ms())
