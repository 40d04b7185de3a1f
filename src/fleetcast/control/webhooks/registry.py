"""Webhooks as people set them up, and as they are shown: without their secrets."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import case, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.control.webhooks.writing import shown
from fleetcast.model.errors import Invalid, NotFound, Refused, Unprocessable
from fleetcast.model.event import EventKind
from fleetcast.model.ids import ServiceName, service_name
from fleetcast.model.limits import (
    WEBHOOK_EVENTS_MAX,
    WEBHOOK_SERVICES_MAX,
    WEBHOOK_TOLD_S_MAX,
    WEBHOOK_URL_CHARS_MAX,
    WEBHOOKS_MAX,
)
from fleetcast.model.messages.webhooks import Webhook, WebhookOutcome, WebhookRemoved, WebhookSpec
from fleetcast.model.webhook import EVENT_PATTERNS, SECRET, URL, WebhookForm, WebhookName, webhook_name
from fleetcast.rollouts.services import known_service
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.events import record_event
from fleetcast.schema.tables import events
from fleetcast.schema.upsert import upsert
from fleetcast.schema.webhook_tables import webhook_deliveries, webhooks
from fleetcast.stores.database import now_ms, read_clock_ms


async def put_webhook(tx: AsyncConnection, spec: WebhookSpec) -> Webhook:
    """Create or change a webhook. What waits for it stays as it was written, and goes where the webhook says now.

    Raises:
        Invalid, Unprocessable: it is none that could be told something.
        NotFound: it names a service that there is not.
        Refused: there are ``WEBHOOKS_MAX`` already.
    """
    name = webhook_name(spec.name)
    _check(spec)
    for service in spec.services:
        await known_service(tx, service_name(service))
    before = await _row(tx, name)
    if before is None and (await tx.execute(select(func.count()).select_from(webhooks))).scalar_one() >= WEBHOOKS_MAX:
        raise Refused("too_many_webhooks", f"there are {WEBHOOKS_MAX} webhooks already: fleetcast webhook remove one of them")
    now = await read_clock_ms(tx)
    changeable = {
        "url": spec.url,
        "events": spec.events,
        "services": spec.services,
        "form": spec.form,
        "secret": spec.secret or "",
        "updated_at": now,
        "failures": 0,
        "again_at": None,
    }
    newest = (await tx.execute(select(func.max(events.c.id)))).scalar_one() or 0
    await upsert(
        tx, webhooks, [{"name": name, "created_at": now, "since_event_id": newest, **changeable}], update=list(changeable)
    )
    record_event(tx, EventKind.WEBHOOK_PUT, name, text="created" if before is None else "changed")
    return await get_webhook(tx, name)


async def remove_webhook(tx: AsyncConnection, name: WebhookName) -> WebhookRemoved:
    """Raises :class:`NotFound`."""
    await stored(tx, name)
    waits = select(func.count()).where(webhook_deliveries.c.webhook == name, webhook_deliveries.c.send_at.is_not(None))
    dropped = (await tx.execute(waits)).scalar_one()
    await tx.execute(delete(webhook_deliveries).where(webhook_deliveries.c.webhook == name))
    await tx.execute(delete(webhooks).where(webhooks.c.name == name))
    record_event(tx, EventKind.WEBHOOK_REMOVED, name)
    return WebhookRemoved(name, dropped)


async def get_webhook(reading: AsyncConnection, name: WebhookName) -> Webhook:
    """Raises :class:`NotFound`."""
    row = await stored(reading, name)
    return (await _shown(reading, [row]))[0]


async def list_webhooks(reading: AsyncConnection, after: str | None = None, *, at_most: int) -> Sequence[Webhook]:
    """By name, those behind ``after``."""
    rows = select(webhooks).order_by(webhooks.c.name).limit(at_most)
    if after is not None:
        rows = rows.where(webhooks.c.name > after)
    return await _shown(reading, (await reading.execute(rows)).all())


async def stored(reading: AsyncConnection, name: WebhookName) -> AnyRow:
    """A webhook with its secrets. Raises :class:`NotFound`."""
    row = await _row(reading, name)
    if row is None:
        raise NotFound("unknown_webhook", f"there is no webhook {name!r}: fleetcast webhook list shows those there are")
    return row


async def undelivered(reading: AsyncConnection) -> Sequence[str]:
    """Webhooks that could not be told, in a line each."""
    lately = webhook_deliveries.c.created_at >= now_ms() - WEBHOOK_TOLD_S_MAX * 1000
    waiting = (
        select(webhooks.c.name, webhooks.c.last_error, func.count().label("count"))
        .join(webhook_deliveries, webhook_deliveries.c.webhook == webhooks.c.name)
        .where(webhooks.c.failures > 0, webhook_deliveries.c.send_at.is_not(None), lately)
        .group_by(webhooks.c.name, webhooks.c.last_error)
        .order_by(webhooks.c.name)
    )
    return [f"{row.count} deliveries wait for webhook {row.name}: {row.last_error}" for row in await reading.execute(waiting)]


def _check(spec: WebhookSpec) -> None:
    if not URL.fits(spec.url) or len(spec.url) > WEBHOOK_URL_CHARS_MAX:
        raise Invalid(
            "illegal_webhook_url",
            f"this is not a URL that can be told something: write http(s)://HOST/PATH, in ASCII, up to {WEBHOOK_URL_CHARS_MAX} "
            "characters, without user, password or #",
        )
    unknown = next((pattern for pattern in spec.events if pattern not in EVENT_PATTERNS), None)
    if unknown is not None or not 1 <= len(spec.events) <= WEBHOOK_EVENTS_MAX:
        raise Invalid(
            "unknown_events",
            f"{'no events are named' if unknown is None else f'there are no events {unknown!r}'}: "
            f"name up to {WEBHOOK_EVENTS_MAX} of {', '.join(EVENT_PATTERNS)}",
        )
    if len(spec.services) > WEBHOOK_SERVICES_MAX:
        raise Invalid("too_many_services", f"a webhook names at most {WEBHOOK_SERVICES_MAX} services: name none for all")
    if spec.secret is not None and not SECRET.fits(spec.secret):
        raise Invalid("illegal_webhook_secret", "the secret is not whsec_ and base64 of 24 to 64 bytes: have one made")
    if spec.secret is None and spec.form is not WebhookForm.SLACK:
        raise Unprocessable("webhook_unsigned", "nobody could tell this webhook's deliveries from others': give it a secret")


async def _row(reading: AsyncConnection, name: WebhookName) -> AnyRow | None:
    return (await reading.execute(select(webhooks).where(webhooks.c.name == name))).one_or_none()


async def _shown(reading: AsyncConnection, rows: Sequence[AnyRow]) -> Sequence[Webhook]:
    d = webhook_deliveries
    given_up = func.sum(case((d.c.ended_at.is_not(None) & (d.c.error != ""), 1), else_=0)).label("given_up")
    counting = select(d.c.webhook, func.count(d.c.send_at).label("waiting"), given_up).group_by(d.c.webhook)
    names = [row.name for row in rows]
    counts = {row.webhook: row for row in await reading.execute(counting.where(d.c.webhook.in_(names)))}
    return [_webhook(row, counts.get(row.name)) for row in rows]


def _webhook(row: AnyRow, counts: AnyRow | None) -> Webhook:
    last = None
    if row.last_at is not None:
        last = WebhookOutcome(row.last_at, row.last_kind, not row.last_error, row.last_status, row.last_error)
    form = WebhookForm(row.form)
    return Webhook(
        name=WebhookName(row.name),
        url=shown(row.url, form),
        events=row.events,
        services=tuple(map(ServiceName, row.services)),
        form=form,
        signed=bool(row.secret),
        created_at_ms=row.created_at,
        waiting=0 if counts is None else counts.waiting,
        given_up=0 if counts is None else int(counts.given_up),
        failures=row.failures,
        last=last,
    )
