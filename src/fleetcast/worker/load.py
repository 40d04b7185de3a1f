"""The loop that lets the number of a worker's slots follow the queue."""

from __future__ import annotations

import asyncio

import structlog

from fleetcast.client.queue import Queue
from fleetcast.http.session import Session
from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import SCALE_LOOK_INTERVAL_S
from fleetcast.worker.scaling import Bounds, Scaling
from fleetcast.worker.slots import Slots

log = structlog.get_logger(__name__)


async def follow_load(session: Session, slots: Slots, bounds: Bounds) -> None:
    """Look at the queue again and again, until cancelled. While control does not answer nothing changes."""
    loop, queue, scaling = asyncio.get_running_loop(), Queue(session), Scaling()
    while True:
        try:
            status = await queue.queue()
        except FleetcastError as error:
            log.warning("load_unknown", reason=error.message, slots=slots.count)
        else:
            scaling = scaling.after(loop.time(), status.wanted_workers)
            if (count := scaling.slots(bounds)) != slots.count:
                log.info("scaled", slots=count, before=slots.count, why=status.why)
                slots.scale_to(count)
        await asyncio.sleep(SCALE_LOOK_INTERVAL_S)
