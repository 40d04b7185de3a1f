"""The control API as an application: three audiences, three tokens. An agent's token is known and opens nothing."""

from __future__ import annotations

from typing import Final

from litestar import Litestar

from fleetcast.control import (
    api_artifacts,
    api_builds,
    api_deployments,
    api_diagnosis,
    api_environments,
    api_events,
    api_fleet,
    api_freezes,
    api_queue,
    api_regions,
    api_retention,
    api_services,
    api_webhooks,
)
from fleetcast.control.hooks.api import HOOKS
from fleetcast.control.parts import Parts
from fleetcast.http.application import application
from fleetcast.http.openapi import Audience, Described, document_route
from fleetcast.http.tokens import Role

HANDLERS: Final = (
    *api_services.HANDLERS,
    *api_environments.HANDLERS,
    *api_deployments.HANDLERS,
    *api_fleet.HANDLERS,
    *api_freezes.HANDLERS,
    *api_events.HANDLERS,
    *api_webhooks.HANDLERS,
    *api_artifacts.HANDLERS,
    *api_retention.HANDLERS,
    *api_queue.HANDLERS,
    *api_builds.HANDLERS,
    *api_diagnosis.HANDLERS,
    *api_regions.HANDLERS,
)


_DESCRIBED: Final = Described(
    title="Fleetcast",
    description=(
        "The API of Fleetcast's control process. Errors are problem details (RFC 9457) with a stable `code`; lists are pages, "
        "`next` is the `after` of the next one; times are UTC milliseconds, durations seconds, sizes bytes. Fields that a "
        "reader does not know are to be ignored, on both sides."
    ),
    audiences=(
        Audience(Role.ADMIN, "people", "Services, builds, deployments and the fleet, for people and their programs."),
        Audience(Role.WORKER, "workers", "For workers: claiming and publishing builds."),
        Audience(Role.REGION, "regions", "For regions: reporting, and reading what they hand on."),
    ),
    provided=("parts",),
)


def control_app(parts: Parts) -> Litestar:
    """The ASGI application that serves ``parts``."""
    document = document_route("/v1/openapi.json", HANDLERS, _DESCRIBED)
    return application([*HANDLERS, *HOOKS, document], parts.config.tokens, {"parts": parts})
