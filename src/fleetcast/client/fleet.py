"""What people ask of control about the fleet."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fleetcast.client.pages import every, stated
from fleetcast.http.session import Session
from fleetcast.model.ids import MachineId, RegionName, ServiceName
from fleetcast.model.limits import HTTP_TIMEOUT_S, PAGE_ITEMS, PAGE_ITEMS_MAX
from fleetcast.model.machine import Machine
from fleetcast.model.messages.fleet import (
    FleetStatus,
    LabelsRequest,
    MachineDetail,
    MachinePage,
    RegionDetail,
    RegionPage,
    RegionStatus,
    WordMeaning,
)
from fleetcast.model.messages.region_rollbacks import RegionRollbacks


class Fleet:
    """Calls that take an admin's token. Errors are those of :class:`Session` and of each operation."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def status(self) -> FleetStatus:
        """Services, regions with their count of machines, and the newest deployment of each service."""
        return await self._session.ask("GET", "/v1/status", reply=FleetStatus)

    async def region_page(self, *, after: str = "", limit: int = PAGE_ITEMS) -> RegionPage:
        """Regions by name; go on from ``next``."""
        return await self._session.ask("GET", "/v1/regions", params={"after": after, "limit": limit}, reply=RegionPage)

    def regions(self) -> AsyncIterator[RegionStatus]:
        """All regions, by name."""
        return every(lambda after: self.region_page(after=after, limit=PAGE_ITEMS_MAX))

    async def machine_page(self, *, region: RegionName | None = None, after: str = "", limit: int = PAGE_ITEMS) -> MachinePage:
        """Machines that are not retired, by id; go on from ``next``. Raises :class:`NotFound` for an unknown region."""
        params = stated(region=region, after=after, limit=limit)
        return await self._session.ask("GET", "/v1/machines", params=params, reply=MachinePage)

    def machines(self, *, region: RegionName | None = None) -> AsyncIterator[Machine]:
        """All machines that are not retired, or those of one region, by id."""
        return every(lambda after: self.machine_page(region=region, after=after, limit=PAGE_ITEMS_MAX))

    async def region_rollbacks(self, *, service: ServiceName | None = None) -> RegionRollbacks:
        """What was rolled back at regions, past control, newest first. Raises :class:`NotFound` for an unknown service."""
        return await self._session.ask("GET", "/v1/region-rollbacks", params=stated(service=service), reply=RegionRollbacks)

    async def names(self, word: str) -> WordMeaning:
        """What has this name, and where nothing has, what has a similar one."""
        return await self._session.ask("GET", "/v1/names", params={"word": word}, reply=WordMeaning)

    async def region(self, region: RegionName) -> RegionDetail:
        """A region: its machines, what its bucket lacks, the deployments under way there. Raises :class:`NotFound`."""
        return await self._session.ask("GET", f"/v1/regions/{region}", reply=RegionDetail)

    async def machine(self, machine: MachineId, *, wait_s: float = 0.0) -> MachineDetail:
        """A machine; with ``wait_s`` its region is asked what runs there, and given so long to answer. Raises
        :class:`NotFound`."""
        return await self._session.ask(
            "GET",
            f"/v1/machines/{machine}",
            params={"wait_s": wait_s},
            reply=MachineDetail,
            timeout_s=HTTP_TIMEOUT_S + wait_s,
        )

    async def label(self, machine: MachineId, request: LabelsRequest) -> MachineDetail:
        """Give a machine these labels and no others. Raises :class:`NotFound`, :class:`Invalid`, and :class:`Refused` when
        others were given than the request says."""
        return await self._session.ask("PUT", f"/v1/machines/{machine}/labels", request, reply=MachineDetail)

    async def drain(self, region: RegionName, *, drained: bool = True) -> FleetStatus:
        """Leave a region out of what everything waits for, or count it again. Raises :class:`NotFound`."""
        return await self._session.ask("POST", f"/v1/regions/{region}/{'drain' if drained else 'undrain'}", reply=FleetStatus)

    async def retire(self, machine: MachineId) -> FleetStatus:
        """Count a machine no more. Raises :class:`NotFound`, :class:`Refused` when it reported a moment ago."""
        return await self._session.ask("POST", f"/v1/machines/{machine}/retire", reply=FleetStatus)
