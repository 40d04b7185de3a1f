"""The API for people: freezes of the whole company."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, delete, get, put
from litestar.params import JSONBody, PathParameter

from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import PartsHere
from fleetcast.http.auth import caller
from fleetcast.model.errors import NotFound, Refused, Unprocessable
from fleetcast.model.ids import NAME, freeze_name
from fleetcast.model.messages.freezes import CompanyFreeze, FreezeOrder, FreezePage
from fleetcast.rollouts import company_freezes as known

_Name = Annotated[str, PathParameter(schema_extra=NAME.schema, description="A freeze's name.")]


@put("/v1/freezes/{name:str}", status_code=200, guards=PEOPLE, errors=(NotFound, Refused, Unprocessable))
async def put_freeze(
    request: Request[Any, Any, Any], name: _Name, data: JSONBody[FreezeOrder], parts: PartsHere
) -> CompanyFreeze:
    """Add a freeze, or change the one of that name: it holds what is under way too, and no rollback."""
    if data.name != name:
        raise Unprocessable("wrong_freeze", f"this describes {data.name!r} and was sent to {name!r}")
    freeze_name(name)
    async with parts.database.transaction() as tx:
        stored = await known.put_freeze(tx, data, caller(request))
    parts.stir()
    return stored


@delete("/v1/freezes/{name:str}", status_code=200, guards=PEOPLE, errors=(NotFound,))
async def remove_freeze(request: Request[Any, Any, Any], name: _Name, parts: PartsHere) -> CompanyFreeze:
    """Remove a freeze: what it held goes on at once. The answer is what it was."""
    async with parts.database.transaction() as tx:
        gone = await known.remove_freeze(tx, freeze_name(name), caller(request))
    parts.stir()
    return gone


@get("/v1/freezes", guards=PEOPLE)
async def list_freezes(parts: PartsHere) -> FreezePage:
    """All freezes of the company, by name, in force or not."""
    async with parts.database.reading() as reading:
        return FreezePage(await known.list_freezes(reading))


HANDLERS = (put_freeze, remove_freeze, list_freezes)
