"""The API for people, and for what scales and monitors: the queue."""

from __future__ import annotations

from litestar import get

from fleetcast.control import metrics
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import PartsHere
from fleetcast.model.messages.queue import QueueStatus


@get("/v1/queue", guards=PEOPLE)
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


HANDLERS = (get_queue, get_metrics)
