"""What people ask of control about the fleet."""

from __future__ import annotations

from fleetcast.http.session import Session
from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.messages.fleet import FleetStatus


class Fleet:
    """Calls that take an admin's token. Errors are those of :class:`Session` and of each operation."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def status(self) -> FleetStatus:
        """Services, regions, machines and the newest deployment of each service."""
        return await self._session.ask("GET", "/v1/status", reply=FleetStatus)

    async def drain(self, region: RegionName, *, drained: bool = True) -> FleetStatus:
        """Leave a region out of what everything waits for, or count it again. Raises :class:`NotFound`."""
        return await self._session.ask("POST", f"/v1/regions/{region}/{'drain' if drained else 'undrain'}", reply=FleetStatus)

    async def retire(self, machine: MachineId) -> FleetStatus:
        """Count a machine no more. Raises :class:`NotFound`, :class:`Refused` when it reported a moment ago."""
        return await self._session.ask("POST", f"/v1/machines/{machine}/retire", reply=FleetStatus)
