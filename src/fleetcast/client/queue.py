"""What people, and whoever scales workers, ask of control about the queue."""

from __future__ import annotations

from fleetcast.http.session import Session
from fleetcast.model.messages.queue import QueueStatus


class Queue:
    """Calls that take an admin's token."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def queue(self) -> QueueStatus:
        """What waits and for what, what runs, how many workers that wants and why."""
        return await self._session.ask("GET", "/v1/queue", reply=QueueStatus)
