"""What people ask of control about services and deployments."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from fleetcast.client.following import resumed, trigger_once
from fleetcast.client.pages import every, stated
from fleetcast.http import messages
from fleetcast.http.session import Session
from fleetcast.model.deployment import Deployment, DeploymentState
from fleetcast.model.ids import DeploymentId, RegionName, ServiceName
from fleetcast.model.limits import HTTP_TIMEOUT_S, PAGE_ITEMS, PAGE_ITEMS_MAX
from fleetcast.model.messages.deployments import (
    DeploymentDetail,
    DeploymentPage,
    DeployRequest,
    Preview,
    PreviewRequest,
    RefusalRequest,
    RetryRequest,
    RollbackRequest,
    SkipRequest,
)
from fleetcast.model.messages.freezes import CompanyFreeze, FreezeOrder, FreezePage
from fleetcast.model.messages.services import ServicePage, ServiceRemoved, ServiceSpec


class Deployments:
    """Calls that take an admin's token. Errors are those of :class:`Session` and of each operation."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def put_service(self, spec: ServiceSpec) -> ServiceSpec:
        """Create or change a service; returns it as stored."""
        return await self._session.ask("PUT", f"/v1/services/{spec.name}", spec, reply=ServiceSpec)

    async def service(self, name: ServiceName) -> ServiceSpec:
        """Raises :class:`NotFound`."""
        return await self._session.ask("GET", f"/v1/services/{name}", reply=ServiceSpec)

    async def service_page(self, *, after: str = "", limit: int = PAGE_ITEMS) -> ServicePage:
        """Services by name; go on from ``next``."""
        return await self._session.ask("GET", "/v1/services", params={"after": after, "limit": limit}, reply=ServicePage)

    def services(self) -> AsyncIterator[ServiceSpec]:
        """All services, by name."""
        return every(lambda after: self.service_page(after=after, limit=PAGE_ITEMS_MAX))

    async def remove_service(self, name: ServiceName) -> ServiceRemoved:
        """Stop a service on every machine and forget it. Raises :class:`NotFound`, :class:`Refused` while it is deployed."""
        return await self._session.ask("DELETE", f"/v1/services/{name}", reply=ServiceRemoved)

    async def deploy(self, request: DeployRequest, *, key: str | None = None) -> Deployment:
        """Trigger a deployment; the answer is its first state, long before its end.

        Sent again when its answer was lost, and triggered once all the same. With a ``key`` of the caller's (1 to 255 visible
        ASCII characters) the whole call may be repeated for a day; raises :class:`KeyReused` when it named another request.
        """
        return await trigger_once(
            lambda headers: self._session.ask("POST", "/v1/deployments", request, headers=headers, reply=Deployment), key
        )

    async def preview(self, request: PreviewRequest) -> Preview:
        """What a deployment would do now; changes nothing. Raises :class:`NotFound`, :class:`Unprocessable`."""
        return await self._session.ask("POST", "/v1/previews", request, reply=Preview)

    async def rollback(self, request: RollbackRequest, *, key: str | None = None) -> Deployment:
        """Trigger a rollback; ``key`` as for :meth:`deploy`. Raises :class:`Refused` when there is nothing to go back to."""
        return await trigger_once(
            lambda headers: self._session.ask("POST", "/v1/rollbacks", request, headers=headers, reply=Deployment), key
        )

    async def retry(self, request: RetryRequest, *, key: str | None = None) -> Deployment:
        """Have failed machines try again; ``key`` as for :meth:`deploy`. Raises :class:`Refused` when none has failed."""
        return await trigger_once(
            lambda headers: self._session.ask("POST", "/v1/retries", request, headers=headers, reply=Deployment), key
        )

    async def abort(self, deployment: DeploymentId) -> Deployment:
        """End an unfinished deployment ABORTED. Raises :class:`NotFound`, :class:`Refused` when it has ended."""
        return await self._session.ask("POST", f"/v1/deployments/{deployment}/abort", reply=Deployment)

    async def pause(self, deployment: DeploymentId) -> Deployment:
        """Let in no further wave for now. Raises :class:`NotFound`, :class:`Refused` where nothing is left to hold back."""
        return await self._session.ask("POST", f"/v1/deployments/{deployment}/pause", reply=Deployment)

    async def resume(self, deployment: DeploymentId) -> Deployment:
        """Go on with one that is paused. Raises :class:`NotFound`, :class:`Refused` when it is not."""
        return await self._session.ask("POST", f"/v1/deployments/{deployment}/resume", reply=Deployment)

    async def promote(self, deployment: DeploymentId) -> Deployment:
        """Skip the bake of the wave under way. Raises :class:`NotFound`, :class:`Refused` when none bakes."""
        return await self._session.ask("POST", f"/v1/deployments/{deployment}/promote", reply=Deployment)

    async def approve(self, deployment: DeploymentId) -> Deployment:
        """Approve its next wave. Raises :class:`NotFound`, :class:`Refused` where that is not to be approved, or not by us."""
        return await self._session.ask("POST", f"/v1/deployments/{deployment}/approve", reply=Deployment)

    async def refuse(self, deployment: DeploymentId, reason: str) -> Deployment:
        """Do not approve its next wave: it ends ABORTED. Raises as :meth:`approve`."""
        request = RefusalRequest(reason)
        return await self._session.ask("POST", f"/v1/deployments/{deployment}/refuse", request, reply=Deployment)

    async def put_freeze(self, order: FreezeOrder) -> CompanyFreeze:
        """Add or change a freeze of the company. Raises :class:`NotFound`, :class:`Refused`, :class:`Unprocessable`."""
        return await self._session.ask("PUT", f"/v1/freezes/{order.name}", order, reply=CompanyFreeze)

    async def remove_freeze(self, name: str) -> CompanyFreeze:
        """Remove one; returns what it was. Raises :class:`NotFound`."""
        return await self._session.ask("DELETE", f"/v1/freezes/{name}", reply=CompanyFreeze)

    async def freezes(self) -> FreezePage:
        """All there are, by name."""
        return await self._session.ask("GET", "/v1/freezes", reply=FreezePage)

    async def skip(self, deployment: DeploymentId, region: RegionName, *, undo: bool = False) -> Deployment:
        """Go on without a region, or with it again. Raises :class:`NotFound`, :class:`Refused` where it makes no difference."""
        asked = SkipRequest(region, undo)
        return await self._session.ask("POST", f"/v1/deployments/{deployment}/skip", asked, reply=Deployment)

    async def deployment(self, deployment: DeploymentId, *, wait_s: float = 0.0, seen: str = "") -> DeploymentDetail:
        """One deployment; with ``wait_s``, held until its version differs from ``seen``. Raises :class:`NotFound`."""
        return await self._session.ask(
            "GET",
            f"/v1/deployments/{deployment}",
            params={"wait_s": wait_s, "seen": seen},
            reply=DeploymentDetail,
            timeout_s=HTTP_TIMEOUT_S + wait_s,
        )

    async def follow_deployment(self, deployment: DeploymentId, *, seen: str = "") -> AsyncGenerator[DeploymentDetail, None]:
        """Each version of a deployment, the newest that is not ``seen`` at once, until it has ended.

        Resumed where it broke; close it (``contextlib.aclosing``) to leave earlier. Raises :class:`NotFound`, and
        :class:`Unavailable` when control is away for too long.
        """
        async with contextlib.aclosing(resumed(self._session, f"/v1/deployments/{deployment}", {"seen": seen})) as told:
            async for event in told:
                if event.event != messages.END:
                    yield messages.decode(event.data, DeploymentDetail)

    async def deployment_page(
        self,
        *,
        service: ServiceName | None = None,
        state: DeploymentState | None = None,
        environment: str | None = None,
        after: str = "",
        limit: int = PAGE_ITEMS,
    ) -> DeploymentPage:
        """Deployments, newest first; go on from ``next``. Raises :class:`NotFound` for a service that never was."""
        params = stated(service=service, state=state, environment=environment, after=after, limit=limit)
        return await self._session.ask("GET", "/v1/deployments", params=params, reply=DeploymentPage)

    def deployments(
        self, *, service: ServiceName | None = None, state: DeploymentState | None = None, environment: str | None = None
    ) -> AsyncIterator[Deployment]:
        """All deployments, newest first. Raises :class:`NotFound` for an unknown service."""
        return every(
            lambda after: self.deployment_page(
                service=service, state=state, environment=environment, after=after, limit=PAGE_ITEMS_MAX
            )
        )
