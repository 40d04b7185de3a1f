"""The API for people: who is told by HTTP of what happens."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, TypeAlias

from litestar import delete, get, post, put
from litestar.params import JSONBody, PathParameter

from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import PartsHere
from fleetcast.control.webhooks import registry, sending
from fleetcast.control.webhooks.outbox import note_outcome
from fleetcast.control.webhooks.writing import TEST, About, body, refusal
from fleetcast.http.cursors import page, place
from fleetcast.http.parameters import After, Limit
from fleetcast.model.errors import FleetcastError, NotFound, Refused, Unprocessable
from fleetcast.model.event import Event
from fleetcast.model.ids import NAME
from fleetcast.model.limits import PAGE_ITEMS
from fleetcast.model.messages.webhooks import (
    Webhook,
    WebhookOutcome,
    WebhookPage,
    WebhookRemoved,
    WebhookSpec,
    WebhookTested,
)
from fleetcast.model.webhook import WebhookForm, webhook_name
from fleetcast.stores.database import read_clock_ms

WebhookInPath: TypeAlias = Annotated[str, PathParameter(schema_extra=NAME.schema, description="A webhook's name.")]


@put("/v1/webhooks/{name:str}", status_code=200, guards=PEOPLE, errors=(NotFound, Refused, Unprocessable))
async def put_webhook(name: WebhookInPath, data: JSONBody[WebhookSpec], parts: PartsHere) -> Webhook:
    """Create or change a webhook.

    It is told what happens from now on.
    """
    if data.name != name:
        raise Unprocessable("wrong_webhook", f"this describes {data.name!r} and was sent to {name!r}")
    async with parts.database.transaction() as tx:
        stored = await registry.put_webhook(tx, data)
    parts.news.ring()
    return stored


@delete("/v1/webhooks/{name:str}", status_code=200, guards=PEOPLE, errors=(NotFound,))
async def remove_webhook(name: WebhookInPath, parts: PartsHere) -> WebhookRemoved:
    """Tell it nothing more, and drop what waits for it."""
    async with parts.database.transaction() as tx:
        gone = await registry.remove_webhook(tx, webhook_name(name))
    parts.news.ring()
    return gone


@get("/v1/webhooks/{name:str}", guards=PEOPLE, errors=(NotFound,))
async def get_webhook(name: WebhookInPath, parts: PartsHere) -> Webhook:
    """One webhook, and how telling it goes."""
    async with parts.database.reading() as reading:
        return await registry.get_webhook(reading, webhook_name(name))


@get("/v1/webhooks", guards=PEOPLE, errors=(Unprocessable,))
async def list_webhooks(parts: PartsHere, after: After = "", limit: Limit = PAGE_ITEMS) -> WebhookPage:
    """All webhooks, by name."""
    behind = place(after, str)
    async with parts.database.reading() as reading:
        found = await registry.list_webhooks(reading, behind, at_most=limit + 1)
    return WebhookPage(*page(found, limit, lambda webhook: webhook.name))


@post("/v1/webhooks/{name:str}/test", status_code=200, guards=PEOPLE, errors=(NotFound,))
async def test_webhook(name: WebhookInPath, parts: PartsHere) -> WebhookTested:
    """Make a delivery now that says only that it is one, and tell what came of it. It is not repeated."""
    async with parts.database.reading() as reading:
        row = await registry.stored(reading, webhook_name(name))
        now = await read_clock_ms(reading)
    said = body(WebhookForm(row.form), Event(0, now, TEST, "", name, "", "Fleetcast can tell you what happens"), About())
    began = time.monotonic()
    status, error = None, ""
    try:
        answer = await sending.post(row.url, row.secret, f"msg_{secrets.token_hex(12)}", said)
        status, error = answer.status, refusal(answer.status, answer.body)
    except FleetcastError as failed:
        error = failed.message
    took_ms = int((time.monotonic() - began) * 1000)
    async with parts.database.transaction() as tx:
        await note_outcome(tx, name, TEST, status, error)
    return WebhookTested(WebhookOutcome(now, TEST, not error, status, error), took_ms)


HANDLERS = (put_webhook, remove_webhook, get_webhook, list_webhooks, test_webhook)
