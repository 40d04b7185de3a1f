"""The API for people: what happened, as pages and as a stream."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, get
from litestar.params import QueryParameter

from fleetcast.control.audiences import PEOPLE
from fleetcast.control.events import PLACE, read_events
from fleetcast.control.parts import PartsHere
from fleetcast.control.streams import EventsSource
from fleetcast.http.parameters import LastEventId, Limit, OfService
from fleetcast.http.sse import EventStream, wants_stream
from fleetcast.model.errors import Compacted, Unprocessable
from fleetcast.model.ids import service_name
from fleetcast.model.limits import PAGE_ITEMS
from fleetcast.model.messages.events import EventPage


@get(
    "/v1/events",
    guards=PEOPLE,
    errors=(Compacted, Unprocessable),
    stream="`data`: an Event, `id`: its id. It has no end.",
)
async def list_events(
    request: Request[Any, Any, Any],
    parts: PartsHere,
    service: OfService = None,
    after: Annotated[str, QueryParameter(pattern=PLACE, description="`next` of the page before, or an event's id.")] = "",
    limit: Limit = PAGE_ITEMS,
    last_event_id: LastEventId = None,
) -> EventPage | EventStream:
    """What happened, oldest first.

    Behind ``after``: an event's id, ``newest`` for what is still to come, empty for all that are kept.
    As a stream (``Accept: text/event-stream``) each one as it happens; ``Last-Event-ID`` goes before ``after``.
    """
    wanted = None if service is None else service_name(service)
    if wants_stream(request):
        return parts.streams.of(EventsSource(parts, last_event_id or after, wanted), parts.news)
    async with parts.database.reading() as reading:
        return await read_events(reading, after, limit, wanted)


HANDLERS = (list_events,)
