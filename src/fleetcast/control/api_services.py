"""The API for people: services."""

from __future__ import annotations

from litestar import delete, get, put
from litestar.params import FromPath, JSONBody

from fleetcast.control import queries, registration
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import PartsHere
from fleetcast.http.parameters import After, Limit
from fleetcast.model.errors import Invalid
from fleetcast.model.ids import service_name
from fleetcast.model.limits import PAGE_ITEMS
from fleetcast.model.messages.services import ServicePage, ServiceRemoved, ServiceSpec
from fleetcast.rollouts.removal import remove_service
from fleetcast.rollouts.services import get_service


@put("/v1/services/{name:str}", status_code=200, guards=PEOPLE)
async def put_service(name: FromPath[str], data: JSONBody[ServiceSpec], parts: PartsHere) -> ServiceSpec:
    """Create or change a service. What was triggered before keeps what it was triggered with."""
    if data.name != name:
        raise Invalid("wrong_service", f"this describes {data.name!r} and was sent to {name!r}")
    stored = await registration.register(parts.database, data)
    parts.news.ring()
    return stored


@delete("/v1/services/{name:str}", status_code=200, guards=PEOPLE)
async def remove(name: FromPath[str], parts: PartsHere) -> ServiceRemoved:
    """Stop it on every machine and forget it; refused while a deployment of it is unfinished."""
    async with parts.database.transaction() as tx:
        gone = await remove_service(tx, service_name(name), goal_lifetime_s=parts.config.goal_lifetime_s)
    parts.controller.wake()
    parts.news.ring()
    return gone


@get("/v1/services/{name:str}", guards=PEOPLE)
async def service(name: FromPath[str], parts: PartsHere) -> ServiceSpec:
    async with parts.database.reading() as reading:
        return await get_service(reading, service_name(name))


@get("/v1/services", guards=PEOPLE)
async def services(parts: PartsHere, after: After = "", limit: Limit = PAGE_ITEMS) -> ServicePage:
    """By name."""
    return await queries.service_page(parts, after, limit)


HANDLERS = (put_service, remove, service, services)
