"""The API for people: the fleet at a glance, regions and machines."""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromPath

from fleetcast.control import queries
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import Parts, PartsHere
from fleetcast.model.ids import machine_id, region_name
from fleetcast.model.messages.fleet import FleetStatus
from fleetcast.rollouts import inventory


@get("/v1/status", guards=PEOPLE)
async def status(parts: PartsHere) -> FleetStatus:
    return await queries.fleet_status(parts)


@post("/v1/regions/{region:str}/drain", status_code=200, guards=PEOPLE)
async def drain(region: FromPath[str], parts: PartsHere) -> FleetStatus:
    """Wait for this region no more: its bucket and its machines are left out of every release and deployment."""
    return await _drained(parts, region, drained=True)


@post("/v1/regions/{region:str}/undrain", status_code=200, guards=PEOPLE)
async def undrain(region: FromPath[str], parts: PartsHere) -> FleetStatus:
    """Count this region again."""
    return await _drained(parts, region, drained=False)


@post("/v1/machines/{machine:str}/retire", status_code=200, guards=PEOPLE)
async def retire(machine: FromPath[str], parts: PartsHere) -> FleetStatus:
    """Count a machine that is gone no more."""
    async with parts.database.transaction() as tx:
        await inventory.retire(tx, machine_id(machine))
    parts.controller.wake()
    return await queries.fleet_status(parts)


async def _drained(parts: Parts, region: str, *, drained: bool) -> FleetStatus:
    async with parts.database.transaction() as tx:
        await inventory.drain(tx, region_name(region), drained=drained)
    parts.controller.wake()
    return await queries.fleet_status(parts)


HANDLERS = (status, drain, undrain, retire)
