"""The agent's side of the conversation with its region."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, Final, TypeVar

from fleetcast.http.session import Session
from fleetcast.model.errors import Unavailable
from fleetcast.model.ids import Digest
from fleetcast.model.limits import HTTP_TIMEOUT_S
from fleetcast.model.messages.agents import (
    AnnounceReply,
    AnnounceRequest,
    GoalsReply,
    GoalsRequest,
    LeaseReply,
    LeaseRequest,
    MachineReport,
    MachineReportAccepted,
    PermitCall,
    PermitReply,
    RootReply,
)
from fleetcast.model.permit import PermitDecision, PermitRequest

T = TypeVar("T")

_SWARM_CALL_S_MAX: Final = 10


class RegionClient:
    """One method an operation. Every one raises :class:`Unavailable` when the region cannot be reached."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def goals(self, request: GoalsRequest) -> GoalsReply:
        """Held by the region up to ``request.wait_s``."""
        timeout_s = request.wait_s + HTTP_TIMEOUT_S
        return await self._session.ask("POST", "/v1/goals", request, reply=GoalsReply, timeout_s=timeout_s)

    async def report(self, report: MachineReport) -> None:
        await self._session.ask("POST", "/v1/reports", report, reply=MachineReportAccepted)

    async def root(self, digest: Digest) -> str:
        """The envelope of a signed root, as the region has it: not verified. Raises :class:`NotFound`."""
        return (await self._session.ask("GET", f"/v1/roots/{digest}", reply=RootReply)).envelope

    async def permit(self, request: PermitRequest) -> PermitDecision:
        """Ask for a permit, or renew one."""
        return (await self._session.ask("POST", "/v1/permits", PermitCall(request), reply=PermitReply)).decision

    async def return_permit(self, request: PermitRequest) -> None:
        await self._session.ask("POST", "/v1/permits/release", PermitCall(request), reply=PermitReply)

    async def announce(self, digest: Digest, request: AnnounceRequest) -> AnnounceReply:
        return await self._session.ask(
            "POST", f"/v1/swarms/{digest}/announce", request, reply=AnnounceReply, timeout_s=_SWARM_CALL_S_MAX
        )

    async def lease(self, digest: Digest, request: LeaseRequest) -> LeaseReply:
        return await self._session.ask(
            "POST", f"/v1/swarms/{digest}/leases", request, reply=LeaseReply, timeout_s=_SWARM_CALL_S_MAX
        )


class SwarmDoor:
    """The same for the threads of the swarm: calls wait for the event loop that owns the session.

    Never to be called on that loop's own thread.
    """

    def __init__(self, region: RegionClient, loop: asyncio.AbstractEventLoop) -> None:
        self._region = region
        self._loop = loop

    def announce(self, digest: Digest, request: AnnounceRequest) -> AnnounceReply:
        return self._wait(self._region.announce(digest, request))

    def lease(self, digest: Digest, request: LeaseRequest) -> LeaseReply:
        return self._wait(self._region.lease(digest, request))

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError:
            call.close()
            raise Unavailable("agent_stopping", "the agent is stopping") from None
        try:
            return future.result(_SWARM_CALL_S_MAX + 1)
        except (CancelledError, TimeoutError):
            future.cancel()
            raise Unavailable("timeout", "the region did not answer in time: try again") from None
