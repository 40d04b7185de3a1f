"""The API for people, and for what scales and monitors: the queue."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from fleetcast.builds.history import build_history
from fleetcast.control import metrics
from fleetcast.control.audiences import PEOPLE, PEOPLE_AND_WORKERS
from fleetcast.control.parts import PartsHere
from fleetcast.http.parameters import OfService
from fleetcast.model.errors import NotFound
from fleetcast.model.ids import service_name
from fleetcast.model.limits import HISTORY_DAYS, HISTORY_DAYS_MAX
from fleetcast.model.messages.queue import BuildHistory, QueueStatus
from fleetcast.rollouts.services import known_service


@get("/v1/queue", guards=PEOPLE_AND_WORKERS)
async def get_queue(parts: PartsHere) -> QueueStatus:
    """What waits, for what and since when; what runs; how many builds should be able to run at a time, and why.

    ``wanted_workers`` and ``why`` are the scaling signal: slots of all workers together. The first builds in line are listed,
    all of them are counted.
    """
    return await parts.queue.status()


@get("/metrics", guards=PEOPLE, media_type=metrics.CONTENT_TYPE)
async def get_metrics(parts: PartsHere) -> bytes:
    """The queue's figures in Prometheus' text format; a scrape sends the token as any other caller."""
    return metrics.exposition(await parts.queue.status())


@get("/v1/history", guards=PEOPLE, errors=(NotFound,))
async def get_history(
    parts: PartsHere,
    service: OfService = None,
    days: Annotated[int, QueryParameter(ge=1, le=HISTORY_DAYS_MAX, description="How many, today included.")] = HISTORY_DAYS,
) -> BuildHistory:
    """How many builds ended how, what they waited and took: by service and day.

    Builds that are forgotten are in these figures.
    """
    named = None if service is None else service_name(service)
    async with parts.database.reading() as reading:
        if named is not None:
            await known_service(reading, named)
        return await build_history(reading, days, named)


HANDLERS = (get_queue, get_metrics, get_history)
