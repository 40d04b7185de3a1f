"""What people ask of control about services and deployments."""

from __future__ import annotations

from fleetcast.http.session import Session
from fleetcast.model.deployment import Deployment
from fleetcast.model.ids import DeploymentId, ServiceName
from fleetcast.model.limits import HTTP_TIMEOUT_S
from fleetcast.model.messages.deployments import DeploymentDetail, DeployRequest, RollbackRequest
from fleetcast.model.messages.services import ServiceRemoved, ServiceSpec


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

    async def services(self) -> tuple[ServiceSpec, ...]:
        """All services, by name."""
        return await self._session.ask("GET", "/v1/services", reply=tuple[ServiceSpec, ...])

    async def remove_service(self, name: ServiceName) -> ServiceRemoved:
        """Stop a service on every machine and forget it. Raises :class:`NotFound`, :class:`Refused` while it is deployed."""
        return await self._session.ask("DELETE", f"/v1/services/{name}", reply=ServiceRemoved)

    async def deploy(self, request: DeployRequest) -> Deployment:
        """Trigger a deployment; the answer is its first state, long before its end."""
        return await self._session.ask("POST", "/v1/deployments", request, reply=Deployment)

    async def rollback(self, request: RollbackRequest) -> Deployment:
        """Trigger a rollback. Raises :class:`Refused` when there is nothing to go back to."""
        return await self._session.ask("POST", "/v1/rollbacks", request, reply=Deployment)

    async def abort(self, deployment: DeploymentId) -> Deployment:
        """End an unfinished deployment ABORTED. Raises :class:`NotFound`, :class:`Refused` when it has ended."""
        return await self._session.ask("POST", f"/v1/deployments/{deployment}/abort", reply=Deployment)

    async def deployment(self, deployment: DeploymentId, *, wait_s: float = 0.0, seen: str = "") -> DeploymentDetail:
        """One deployment; with ``wait_s``, held until its version differs from ``seen``. Raises :class:`NotFound`."""
        return await self._session.ask(
            "GET",
            f"/v1/deployments/{deployment}",
            params={"wait_s": wait_s, "seen": seen},
            reply=DeploymentDetail,
            timeout_s=HTTP_TIMEOUT_S + wait_s,
        )

    async def deployments(self, service: ServiceName, *, limit: int = 20) -> tuple[Deployment, ...]:
        """The newest deployments of a service, newest first; of a removed one too. Raises :class:`NotFound`."""
        return await self._session.ask(
            "GET", "/v1/deployments", params={"service": service, "limit": limit}, reply=tuple[Deployment, ...]
        )
