"""Calls that survive a restart of control: triggers sent again under the same key, streams resumed where they broke."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import TypeVar

from httpx2 import ServerSentEvent

from fleetcast.http.messages import END
from fleetcast.http.session import UNREACHABLE, Params, Session
from fleetcast.model.errors import Unavailable
from fleetcast.model.limits import (
    RETRY_S_MAX,
    RETRY_S_MIN,
    STREAM_AWAY_S_MAX,
    TOKEN_BYTES,
    TRIGGER_S_MAX,
    TRIGGER_UNREACHABLE_S_MAX,
)

T = TypeVar("T")


async def trigger_once(send: Callable[[Mapping[str, str]], Awaitable[T]], key: str | None) -> T:
    """What ``send`` returns, given the headers to send: sent again when its answer was lost, and carried out once all the same.

    ``key``: the caller's own; ``None``: one made at random.

    Raises:
        Unavailable: nobody was there for ``TRIGGER_UNREACHABLE_S_MAX``, or there was no answer within ``TRIGGER_S_MAX``.
    """
    headers = {"idempotency-key": key or secrets.token_urlsafe(TOKEN_BYTES)}
    began, failed, sent = time.monotonic(), 0, False
    while True:
        try:
            return await send(headers)
        except Unavailable as error:
            failed += 1
            sent = sent or error.code != UNREACHABLE
            if time.monotonic() - began > (TRIGGER_S_MAX if sent else TRIGGER_UNREACHABLE_S_MAX):
                raise
        await _pause(failed)


async def resumed(
    session: Session, path: str, params: Params, last_event_id: str = ""
) -> AsyncGenerator[ServerSentEvent, None]:
    """The events of a stream behind ``last_event_id``, to its end; the last one is named ``END``, if the stream has an end.

    Close it (``contextlib.aclosing``) to leave earlier.

    Raises:
        Unavailable: the stream could not be resumed for ``STREAM_AWAY_S_MAX``.
    """
    away_since: float | None = None
    failed = 0
    while True:
        try:
            async with session.stream(path, params=params, last_event_id=last_event_id) as events:
                away_since, failed = None, 0
                async for event in events:
                    last_event_id = event.id or last_event_id
                    yield event
                    if event.event == END:
                        return
        except Unavailable:
            now = time.monotonic()
            away_since = now if away_since is None else away_since
            if now - away_since > STREAM_AWAY_S_MAX:
                raise
        failed += 1
        await _pause(failed)


async def _pause(failed: int) -> None:
    """Doubling, with jitter: many clients lose one control process at the same moment."""
    await asyncio.sleep(min(RETRY_S_MIN * 2 ** min(failed - 1, 10), RETRY_S_MAX) * random.uniform(0.5, 1))
