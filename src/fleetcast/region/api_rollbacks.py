"""What people may ask of a region past control: going back, and how far that is. They show the region's own token."""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromPath, JSONBody

from fleetcast.http.auth import allow
from fleetcast.http.tokens import Role
from fleetcast.model import ids
from fleetcast.model.messages.region_rollbacks import RegionRollbackRequest, RegionRollbackStatus
from fleetcast.region.parts import PartsHere

_PEOPLE = [allow(Role.REGION)]


@post("/v1/rollbacks", status_code=200, guards=_PEOPLE)
async def go_back(data: JSONBody[RegionRollbackRequest], parts: PartsHere) -> RegionRollbackStatus:
    """This region's machines go back to a release that succeeded before, whatever control wants."""
    ids.service_name(data.service)
    if data.environment:
        ids.environment_name(data.environment)
    return await parts.rollbacks.go_back(data)


@get("/v1/rollbacks/{environment:str}/{service:str}", guards=_PEOPLE)
async def how_far(environment: FromPath[str], service: FromPath[str], parts: PartsHere) -> RegionRollbackStatus:
    """How far the machines are with it."""
    return parts.rollbacks.status(ids.environment_name(environment), ids.service_name(service))


HANDLERS = (go_back, how_far)
