"""What agents may ask of their region, apart from the hot routes (``hot.py``); and the application, with what people may."""

from __future__ import annotations

import time
from typing import Any

from litestar import Litestar, Request, Router, get, post
from litestar.params import FromPath, JSONBody

from fleetcast.http.application import application
from fleetcast.http.auth import allow
from fleetcast.http.holding import caller_gone
from fleetcast.http.tokens import Role, TokenSet
from fleetcast.model import ids
from fleetcast.model.errors import NotFound
from fleetcast.model.messages.agents import (
    AnnounceReply,
    AnnounceRequest,
    LeaseReply,
    LeaseRequest,
    PermitCall,
    PermitReply,
    RootReply,
)
from fleetcast.region import api_rollbacks
from fleetcast.region.parts import Parts, PartsHere
from fleetcast.stores import boots


@get("/v1/roots/{root:str}")
async def signed_root(root: FromPath[str], parts: PartsHere) -> RootReply:
    """The envelope with this digest."""
    record = parts.view.record(ids.digest(root))
    if record is None:
        raise NotFound("unknown_root", f"this region knows no root {root}: read goals again")
    return RootReply(record.envelope)


@post("/v1/swarms/{digest:str}/announce", status_code=200)
async def announce(digest: FromPath[str], data: JSONBody[AnnounceRequest], parts: PartsHere) -> AnnounceReply:
    """A machine joins, stays in, or leaves a swarm."""
    return parts.swarms.announce(ids.digest(digest), data, time.monotonic(), time.time())


@post("/v1/swarms/{digest:str}/leases", status_code=200)
async def lease(
    digest: FromPath[str], data: JSONBody[LeaseRequest], request: Request[Any, Any, Any], parts: PartsHere
) -> LeaseReply:
    """A machine asks to read named pieces from the bucket."""
    async with caller_gone(request.receive) as gone:
        return await parts.swarms.lease(ids.digest(digest), data, time.monotonic, gone)


@post("/v1/permits", status_code=200)
async def ask_permit(data: JSONBody[PermitCall], parts: PartsHere) -> PermitReply:
    """A machine asks whether it may take a service down now, or goes on holding its permit."""
    request = data.request
    now_ms = round(time.time() * 1000)
    await parts.permit_note.cover(boots.uptime_ms())
    goal = parts.view.goal(request.environment, request.service)
    spot, down = parts.machines.spot(request.machine), parts.machines.down(request.environment, request.service)
    return PermitReply(parts.permits.ask(request, goal, spot, down, time.monotonic(), now_ms))


@post("/v1/permits/release", status_code=200)
async def release_permit(data: JSONBody[PermitCall], parts: PartsHere) -> PermitReply:
    """A machine is done with its permit."""
    return PermitReply(parts.permits.release(data.request))


def region_api(parts: Parts, tokens: TokenSet) -> Litestar:
    """The application. ``tokens``: the agents', and the region's own, which people show."""
    handlers = [signed_root, announce, lease, ask_permit, release_permit]
    agents = Router("/", guards=[allow(Role.AGENT)], route_handlers=handlers)
    return application([agents, *api_rollbacks.HANDLERS], tokens, {"parts": parts})
