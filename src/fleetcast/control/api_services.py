"""The API for people: services."""

from __future__ import annotations

from litestar import delete, get, put
from litestar.params import JSONBody

from fleetcast.control import queries, registration
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import PartsHere
from fleetcast.http.parameters import After, Limit, ServiceInPath
from fleetcast.model.errors import NotFound, Refused, Unprocessable
from fleetcast.model.ids import service_name
from fleetcast.model.limits import PAGE_ITEMS
from fleetcast.model.messages.services import ServicePage, ServiceRemoved, ServiceSpec
from fleetcast.rollouts import removal
from fleetcast.rollouts import services as known


@put("/v1/services/{name:str}", status_code=200, guards=PEOPLE, errors=(Refused, Unprocessable))
async def put_service(name: ServiceInPath, data: JSONBody[ServiceSpec], parts: PartsHere) -> ServiceSpec:
    """Create or change a service.

    What was triggered before keeps what it was triggered with.
    """
    if data.name != name:
        raise Unprocessable("wrong_service", f"this describes {data.name!r} and was sent to {name!r}")
    stored = await registration.register(parts.database, data)
    parts.news.ring()
    return stored


@delete("/v1/services/{name:str}", status_code=200, guards=PEOPLE, errors=(NotFound, Refused))
async def remove_service(name: ServiceInPath, parts: PartsHere) -> ServiceRemoved:
    """Stop a service on every machine and forget it; refused while a deployment of it is unfinished."""
    async with parts.database.transaction() as tx:
        gone = await removal.remove_service(tx, service_name(name), goal_lifetime_s=parts.config.goal_lifetime_s)
    parts.stir()
    return gone


@get("/v1/services/{name:str}", guards=PEOPLE, errors=(NotFound,))
async def get_service(name: ServiceInPath, parts: PartsHere) -> ServiceSpec:
    """One service."""
    async with parts.database.reading() as reading:
        return await known.get_service(reading, service_name(name))


@get("/v1/services", guards=PEOPLE, errors=(Unprocessable,))
async def list_services(parts: PartsHere, after: After = "", limit: Limit = PAGE_ITEMS) -> ServicePage:
    """All services, by name."""
    return await queries.service_page(parts, after, limit)


HANDLERS = (put_service, remove_service, get_service, list_services)
