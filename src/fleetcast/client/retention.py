"""What people ask of control about what is kept of artifacts."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fleetcast.client.pages import every, stated
from fleetcast.http.session import Session
from fleetcast.model.ids import ArtifactName
from fleetcast.model.limits import PAGE_ITEMS, PAGE_ITEMS_MAX
from fleetcast.model.messages.artifacts import ArtifactDetail
from fleetcast.model.messages.retention import Collected, RetentionItem, RetentionPage


class Retention:
    """Calls that take an admin's token."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def retention_page(self, *, after: str = "", limit: int = PAGE_ITEMS) -> RetentionPage:
        """What would be collected now and why, and why the rest stays, by name; go on from ``next``."""
        return await self._session.ask("GET", "/v1/retention", params=stated(after=after, limit=limit), reply=RetentionPage)

    def retention(self) -> AsyncIterator[RetentionItem]:
        """All of it."""
        return every(lambda after: self.retention_page(after=after, limit=PAGE_ITEMS_MAX))

    async def collect(self) -> Collected:
        """Collect now what would be collected at the next turn."""
        return await self._session.ask("POST", "/v1/retention/collect", reply=Collected)

    async def pin(self, name: ArtifactName, *, pinned: bool) -> ArtifactDetail:
        """Never collect an artifact, or leave it to the rules again. Raises :class:`NotFound`, and :class:`Refused` when it was
        collected."""
        verb = "pin" if pinned else "unpin"
        return await self._session.ask("POST", f"/v1/artifacts/{name}/{verb}", reply=ArtifactDetail)
