"""What people ask of one region, past control."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from fleetcast.http.session import Session
from fleetcast.model.ids import ServiceName
from fleetcast.model.messages.region_rollbacks import RegionRollbackRequest, RegionRollbackStatus


class RegionControls:
    """Calls that take the region's own token. Use as an async context manager."""

    def __init__(self, region_url: str, token: str) -> None:
        self._session = Session(region_url, token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: TracebackType | BaseException | type[BaseException] | None) -> None:
        await self._session.aclose()

    async def roll_back(self, request: RegionRollbackRequest) -> RegionRollbackStatus:
        """Have the region's machines go back, whatever control wants. Raises :class:`NotFound` and :class:`Refused`."""
        return await self._session.ask("POST", "/v1/rollbacks", request, reply=RegionRollbackStatus)

    async def rollback(self, environment: str, service: ServiceName) -> RegionRollbackStatus:
        """How far that is. Raises :class:`NotFound` where none stands."""
        return await self._session.ask("GET", f"/v1/rollbacks/{environment}/{service}", reply=RegionRollbackStatus)
