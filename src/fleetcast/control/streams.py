"""What the streams of control tell: events, a build's log, a deployment."""

from __future__ import annotations

from collections.abc import Sequence

from fleetcast.control import queries
from fleetcast.control.events import read_events
from fleetcast.control.parts import Parts
from fleetcast.http import cursors, messages
from fleetcast.http.messages import END
from fleetcast.http.sse import Message
from fleetcast.model.ids import BuildId, DeploymentId
from fleetcast.model.limits import BUILD_LOG_BYTES_MAX, PAGE_ITEMS_MAX


class EventsSource:
    """Each event as it happens. ``id``: the event's."""

    def __init__(self, parts: Parts, after: str, service: str | None) -> None:
        self._parts, self._after, self._service = parts, after, service
        self.more = False

    async def look(self) -> Sequence[Message]:
        async with self._parts.database.reading() as reading:
            page = await read_events(reading, self._after, PAGE_ITEMS_MAX, self._service)
        self._after = page.next
        self.more = len(page.items) == PAGE_ITEMS_MAX
        return [Message(messages.encode(event).decode(), str(event.id)) for event in page.items]


class LogSource:
    """A build's log as it grows. ``id``: where the next piece starts. Its end carries the build's status."""

    def __init__(self, parts: Parts, build: BuildId, offset: int) -> None:
        self._parts, self._build, self._offset = parts, build, offset
        self.more = False

    async def look(self) -> Sequence[Message]:
        page = await self._parts.logs.read(self._build, self._offset)
        self._offset = page.next_offset
        self.more = page.text != ""
        told = [Message(page.text, str(page.next_offset))] if page.text else []
        if page.finished:
            told.append(Message((await self._parts.queue.get(self._build)).status, str(page.next_offset), END))
        return told


class DeploymentSource:
    """A deployment at each change of its version, which is the ``id``. Its end carries the state."""

    more = False

    def __init__(self, parts: Parts, deployment: DeploymentId, seen: str) -> None:
        self._parts, self._deployment, self._seen = parts, deployment, seen

    async def look(self) -> Sequence[Message]:
        detail = await queries.deployment_detail(self._parts, self._deployment)
        told = [] if detail.version == self._seen else [Message(messages.encode(detail).decode(), detail.version)]
        self._seen = detail.version
        if detail.deployment.state.ended:
            told.append(Message(detail.deployment.state, detail.version, END))
        return told


def log_offset(last_event_id: str | None, offset: int) -> int:
    """Where a log is read from; negative: so far before its end. Raises :class:`Unprocessable` for no ``last_event_id``."""
    if last_event_id:
        if not (last_event_id.isascii() and last_event_id.isdigit()):
            raise cursors.illegal(last_event_id)
        offset = int(last_event_id[:20])
    return min(max(-BUILD_LOG_BYTES_MAX, offset), BUILD_LOG_BYTES_MAX)
