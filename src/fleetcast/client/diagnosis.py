"""What people ask of control when something seems wrong."""

from __future__ import annotations

from fleetcast.http.session import Session
from fleetcast.model.messages.diagnosis import Diagnosis


class Diagnoses:
    """Calls that take an admin's token. Errors are those of :class:`Session`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def diagnosis(self) -> Diagnosis:
        """What control sees of regions, buckets and machines, looked at now."""
        return await self._session.ask("GET", "/v1/diagnosis", reply=Diagnosis)
