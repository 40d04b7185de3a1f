"""What people, and whoever scales workers, ask of control about the queue."""

from __future__ import annotations

from fleetcast.client.pages import stated
from fleetcast.http.session import Session
from fleetcast.model.ids import ServiceName
from fleetcast.model.limits import HISTORY_DAYS
from fleetcast.model.messages.queue import BuildHistory, QueueStatus


class Queue:
    """Calls that take an admin's token."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def queue(self) -> QueueStatus:
        """What waits and for what, what runs, how many workers that wants and why."""
        return await self._session.ask("GET", "/v1/queue", reply=QueueStatus)

    async def build_history(self, *, service: ServiceName | None = None, days: int = HISTORY_DAYS) -> BuildHistory:
        """What builds took and how they ended, by service and day. Raises :class:`NotFound` for a service that never was."""
        return await self._session.ask("GET", "/v1/history", params=stated(service=service, days=days), reply=BuildHistory)
