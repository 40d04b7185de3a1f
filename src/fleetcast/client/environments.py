"""What people ask of control about a service's environments."""

from __future__ import annotations

from collections.abc import Sequence

from fleetcast.client.following import trigger_once
from fleetcast.http.session import Session
from fleetcast.model.deployment import Deployment
from fleetcast.model.ids import ServiceName
from fleetcast.model.messages.environments import (
    Environment,
    EnvironmentList,
    EnvironmentRemoved,
    EnvironmentSpec,
    PromoteRequest,
    Promotion,
)


class Environments:
    """Calls that take an admin's token. Errors are those of :class:`Session` and of each operation."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def put_environment(self, spec: EnvironmentSpec) -> Environment:
        """Create or change one of a service's. Raises :class:`NotFound`, :class:`Refused` where two may mean one machine."""
        path = f"/v1/services/{spec.service}/environments/{spec.name}"
        return await self._session.ask("PUT", path, spec, reply=Environment)

    async def environments(self, service: ServiceName) -> Sequence[Environment]:
        """All of a service's, its own first. Raises :class:`NotFound`, of a control of an older version too."""
        found = await self._session.ask("GET", f"/v1/services/{service}/environments", reply=EnvironmentList)
        return found.items

    async def remove_environment(self, service: ServiceName, name: str) -> EnvironmentRemoved:
        """Stop a service on the machines of an environment. Raises :class:`NotFound`, :class:`Refused`."""
        return await self._session.ask("DELETE", f"/v1/services/{service}/environments/{name}", reply=EnvironmentRemoved)

    async def promotion(self, service: ServiceName, source: str, target: str) -> Promotion:
        """What a promotion would deploy now; changes nothing. Raises :class:`NotFound`, :class:`Refused`."""
        params = {"source": source, "target": target}
        return await self._session.ask("GET", f"/v1/services/{service}/promotion", params=params, reply=Promotion)

    async def promote_release(self, request: PromoteRequest, *, key: str | None = None) -> Deployment:
        """Deploy to one environment what runs in another; ``key`` as for a deployment. Raises :class:`NotFound`,
        :class:`Refused`."""
        return await trigger_once(
            lambda headers: self._session.ask("POST", "/v1/promotions", request, headers=headers, reply=Deployment), key
        )
