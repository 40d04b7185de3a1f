"""What people ask of control about what happened."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from fleetcast.client.following import resumed
from fleetcast.client.pages import stated
from fleetcast.http import messages
from fleetcast.http.session import Session
from fleetcast.model.event import Event
from fleetcast.model.ids import ServiceName
from fleetcast.model.limits import PAGE_ITEMS
from fleetcast.model.messages.events import EventPage


class Events:
    """Calls that take an admin's token. Errors are those of :class:`Session` and of each operation.

    ``after``: an event's id, or ``newest`` for what is still to come; empty: from the oldest that is kept. Both raise
    :class:`Compacted` when events behind ``after`` are kept no longer.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def event_page(self, *, service: ServiceName | None = None, after: str = "", limit: int = PAGE_ITEMS) -> EventPage:
        """Oldest first; go on from ``next``, which is there also when there is nothing new."""
        params = stated(service=service, after=after, limit=limit)
        return await self._session.ask("GET", "/v1/events", params=params, reply=EventPage)

    async def follow_events(self, *, service: ServiceName | None = None, after: str = "") -> AsyncGenerator[Event, None]:
        """Each event as it happens, without an end; close it (``contextlib.aclosing``) to leave.

        Resumed where it broke; raises :class:`Unavailable` when control is away for too long.
        """
        async with contextlib.aclosing(resumed(self._session, "/v1/events", stated(service=service, after=after))) as told:
            async for event in told:
                yield messages.decode(event.data, Event)
