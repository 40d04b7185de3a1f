"""The reaper's loop: gives silent workers' builds to others, ends what waited or ran too long."""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fleetcast.builds.queue import BuildQueue
from fleetcast.model.errors import FleetcastError

log = structlog.get_logger(__name__)


async def run(queue: BuildQueue, interval_s: float, stop: asyncio.Event) -> None:
    """Reap every ``interval_s`` until ``stop``. A database that is away is tried again at the next turn."""
    while not stop.is_set():
        try:
            await queue.reap()
        except (FleetcastError, SQLAlchemyError) as error:
            log.warning("reap_failed", error=str(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), interval_s)
