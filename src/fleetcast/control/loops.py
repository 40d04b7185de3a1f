"""What control's loops have in common: a step now, another after each interval, an engine that is away tried again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fleetcast.model.errors import FleetcastError

log = structlog.get_logger(__name__)


async def regularly(name: str, step: Callable[[], Awaitable[object]], interval_s: float, stop: asyncio.Event) -> None:
    """Take ``step`` at once and then every ``interval_s``, until ``stop``.

    Errors of ours and of the database are logged, and the step is taken again at the next turn; any other ends the loop.
    """
    while not stop.is_set():
        try:
            await step()
        except (FleetcastError, SQLAlchemyError) as error:
            log.warning("step_failed", loop=name, error=str(error))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(interval_s):
                await stop.wait()
