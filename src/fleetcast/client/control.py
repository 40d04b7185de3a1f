"""The client of the control API: one object, one method an operation."""

from __future__ import annotations

from fleetcast.client.artifacts import Artifacts
from fleetcast.client.builds import Builds
from fleetcast.client.deployments import Deployments
from fleetcast.client.diagnosis import Diagnoses
from fleetcast.client.environments import Environments
from fleetcast.client.events import Events
from fleetcast.client.fleet import Fleet
from fleetcast.client.queue import Queue
from fleetcast.client.regions import Regions
from fleetcast.client.retention import Retention
from fleetcast.client.webhooks import Webhooks
from fleetcast.http.session import Session


class ControlClient(
    Deployments, Environments, Fleet, Events, Artifacts, Retention, Queue, Diagnoses, Webhooks, Builds, Regions
):
    """All of control's operations. Which of them succeed depends on the token's role.

    Use it as an async context manager, or close it with :meth:`aclose`.
    """

    def __init__(self, base_url: str, token: str) -> None:
        super().__init__(Session(base_url, token))

    async def aclose(self) -> None:
        await self._session.aclose()

    async def __aenter__(self) -> ControlClient:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()
