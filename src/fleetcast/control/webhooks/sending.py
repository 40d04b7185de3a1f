"""The loops that tell webhooks: one gathers, one starts a courier for each webhook that is to be told something.

Each receiver has a courier of its own, so that one that is slow or away holds up no other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import aclosing
from random import Random
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fleetcast.control import outboxes
from fleetcast.control.loops import regularly
from fleetcast.control.webhooks.outbox import Claimed, claim, delivered, due, gather, not_delivered
from fleetcast.control.webhooks.writing import headers, is_final, refusal
from fleetcast.http.session import Answer, Session
from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import (
    WEBHOOK_ANSWER_BYTES_MAX,
    WEBHOOK_BACKOFF_S_MAX,
    WEBHOOK_BACKOFF_S_MIN,
    WEBHOOK_INTERVAL_S,
    WEBHOOK_SEND_S_MAX,
)
from fleetcast.stores.database import Database

log = structlog.get_logger(__name__)


class Couriers:
    """From the outbox to the receivers. Safe to run in several control processes."""

    def __init__(self, database: Database, rng: Random | None = None) -> None:
        self._database = database
        self._rng = rng or Random()
        self._under_way: set[str] = set()

    async def run(self, stop: asyncio.Event, interval_s: float = WEBHOOK_INTERVAL_S) -> None:
        """Until ``stop``; then what is under way still ends."""
        async with asyncio.TaskGroup() as group:

            async def start() -> None:
                for webhook in await due(self._database):
                    if webhook not in self._under_way:
                        self._under_way.add(webhook)
                        group.create_task(self._serve(webhook, stop), name=f"webhook {webhook}")

            await regularly("webhooks", start, interval_s, stop)

    async def turn(self, webhook: str, stop: asyncio.Event | None = None) -> None:
        """Tell a webhook all that is due for it, one after the other."""
        while not (stop and stop.is_set()) and (one := await claim(self._database, webhook)) is not None:
            await self._tell(one)

    async def _serve(self, webhook: str, stop: asyncio.Event) -> None:
        try:
            await self.turn(webhook, stop)
        except (FleetcastError, SQLAlchemyError) as error:
            log.warning("webhook_step_failed", webhook=webhook, error=str(error))
        finally:
            self._under_way.discard(webhook)

    async def _tell(self, one: Claimed) -> None:
        try:
            answer = await post(one.url, one.secret, one.message, one.body)
        except FleetcastError as error:
            await self._failed(one, None, error.message, self._backoff_s(one))
            return
        why = refusal(answer.status, answer.body)
        if not why:
            await delivered(self._database, one, answer.status)
        elif is_final(answer.status):
            await self._failed(one, answer.status, why, None)
        else:
            asked_s = min(answer.retry_after_s or 0, WEBHOOK_BACKOFF_S_MAX)
            await self._failed(one, answer.status, why, max(asked_s, self._backoff_s(one)))

    def _backoff_s(self, one: Claimed) -> float:
        failures = max(one.failures, one.webhook_failures) + 1
        return outboxes.backoff_s(failures, self._rng, at_least_s=WEBHOOK_BACKOFF_S_MIN, at_most_s=WEBHOOK_BACKOFF_S_MAX)

    async def _failed(self, one: Claimed, status: int | None, why: str, again_in_s: float | None) -> None:
        log.warning("webhook_not_delivered", webhook=one.webhook, message=one.message, error=why, again_in_s=again_in_s)
        await not_delivered(self._database, one, status, why, again_in_s)


async def post(url: str, secret: str, message: str, body: str) -> Answer:
    """Make one delivery, whatever the receiver answers. Raises :class:`Unavailable` where it does not."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    content = body.encode()
    # The receiver compares the time with its own clock, so it is this host's, not the database's.
    signed = headers(secret, message, int(time.time()), content)
    async with aclosing(Session(f"{parts.scheme}://{parts.netloc}")) as session:
        return await session.post(
            path, content, signed, timeout_s=WEBHOOK_SEND_S_MAX, answer_bytes_max=WEBHOOK_ANSWER_BYTES_MAX
        )


def webhook_loops(database: Database, stop: asyncio.Event) -> dict[str, Coroutine[Any, Any, None]]:
    """What control runs for webhooks."""

    async def take_in() -> None:
        while not stop.is_set() and await gather(database):
            pass

    return {
        "webhook events": regularly("webhook events", take_in, WEBHOOK_INTERVAL_S, stop),
        "webhooks": Couriers(database).run(stop),
    }
