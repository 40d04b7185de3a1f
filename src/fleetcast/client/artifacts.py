"""What people ask of control about builds and what they made."""

from __future__ import annotations

from fleetcast.http.session import Session
from fleetcast.model.ids import ArtifactName, BuildId
from fleetcast.model.messages.artifacts import ArtifactDetail, BuildLog


class Artifacts:
    """Calls that take an admin's token. Errors are those of :class:`Session` and of each operation."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def build_log(self, build: BuildId, offset: int = 0) -> BuildLog:
        """The log from byte ``offset`` on, as far as one answer goes; ask again from ``next_offset`` until ``finished``."""
        return await self._session.ask("GET", f"/v1/builds/{build}/log", params={"offset": offset}, reply=BuildLog)

    async def artifact(self, name: ArtifactName) -> ArtifactDetail:
        """An artifact by its name, ``<service>/<commit>``. Raises :class:`NotFound`."""
        return await self._session.ask("GET", f"/v1/artifacts/{name}", reply=ArtifactDetail)
