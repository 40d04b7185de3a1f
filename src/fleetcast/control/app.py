"""The control API as an application: three audiences, three tokens. An agent's token is known and opens nothing."""

from __future__ import annotations

from typing import Final

from litestar import Litestar

from fleetcast.control import (
    api_artifacts,
    api_builds,
    api_deployments,
    api_diagnosis,
    api_events,
    api_fleet,
    api_regions,
    api_services,
)
from fleetcast.control.parts import Parts
from fleetcast.http.application import application
from fleetcast.http.openapi import document_route

HANDLERS: Final = (
    *api_services.HANDLERS,
    *api_deployments.HANDLERS,
    *api_fleet.HANDLERS,
    *api_events.HANDLERS,
    *api_artifacts.HANDLERS,
    *api_builds.HANDLERS,
    *api_diagnosis.HANDLERS,
    *api_regions.HANDLERS,
)


def control_app(parts: Parts) -> Litestar:
    """The ASGI application that serves ``parts``."""
    document = document_route("/v1/openapi.json", "Fleetcast", HANDLERS, ["parts"])
    return application([*HANDLERS, document], parts.config.tokens, {"parts": parts})
