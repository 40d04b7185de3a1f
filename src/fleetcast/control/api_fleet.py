"""The API for people: the fleet at a glance, regions and machines."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post, put
from litestar.params import JSONBody, QueryParameter

from fleetcast.control import fleet_queries, queries
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import Parts, PartsHere
from fleetcast.http.holding import held_s
from fleetcast.http.parameters import After, Limit, MachineInPath, OfRegion, OfService, RegionInPath, WaitS
from fleetcast.model.errors import Conflict, NotFound, Refused, Unprocessable
from fleetcast.model.ids import machine_id, region_name, service_name
from fleetcast.model.limits import MACHINE_WAIT_S_MAX, PAGE_ITEMS, WORD_CHARS_MAX
from fleetcast.model.messages.fleet import (
    FleetStatus,
    LabelsRequest,
    MachineDetail,
    MachinePage,
    RegionDetail,
    RegionPage,
    WordMeaning,
)
from fleetcast.model.messages.region_rollbacks import RegionRollbacks
from fleetcast.rollouts import inventory, labels, retiring
from fleetcast.rollouts.names import meaning


@get("/v1/status", guards=PEOPLE)
async def get_status(parts: PartsHere) -> FleetStatus:
    """Everything at a glance: services, regions, the newest deployment of each service."""
    return await queries.fleet_status(parts)


@get("/v1/regions", guards=PEOPLE, errors=(Unprocessable,))
async def list_regions(parts: PartsHere, after: After = "", limit: Limit = PAGE_ITEMS) -> RegionPage:
    """All regions, by name."""
    return await queries.region_page(parts, after, limit)


@get("/v1/machines", guards=PEOPLE, errors=(NotFound, Unprocessable))
async def list_machines(parts: PartsHere, region: OfRegion = None, after: After = "", limit: Limit = PAGE_ITEMS) -> MachinePage:
    """Machines that are not retired, by id."""
    return await queries.machine_page(parts, None if region is None else region_name(region), after, limit)


@get("/v1/region-rollbacks", guards=PEOPLE, errors=(NotFound, Unprocessable))
async def list_region_rollbacks(parts: PartsHere, service: OfService = None) -> RegionRollbacks:
    """What was rolled back at regions, past control, newest first; how that ended."""
    return await queries.region_rollbacks(parts, None if service is None else service_name(service))


@post("/v1/regions/{region:str}/drain", status_code=200, guards=PEOPLE, errors=(NotFound,))
async def drain_region(region: RegionInPath, parts: PartsHere) -> FleetStatus:
    """Wait for this region no more.

    Its bucket and its machines are left out of every release and deployment.
    """
    return await _drained(parts, region, drained=True)


@post("/v1/regions/{region:str}/undrain", status_code=200, guards=PEOPLE, errors=(NotFound,))
async def undrain_region(region: RegionInPath, parts: PartsHere) -> FleetStatus:
    """Count this region again."""
    return await _drained(parts, region, drained=False)


@post("/v1/machines/{machine:str}/retire", status_code=200, guards=PEOPLE, errors=(NotFound, Refused))
async def retire_machine(machine: MachineInPath, parts: PartsHere) -> FleetStatus:
    """Count a machine that is gone no more."""
    async with parts.database.transaction() as tx:
        await retiring.retire(tx, machine_id(machine))
    parts.stir()
    return await queries.fleet_status(parts)


@get("/v1/regions/{region:str}", guards=PEOPLE, errors=(NotFound,))
async def get_region(region: RegionInPath, parts: PartsHere) -> RegionDetail:
    """One region: its machines, what its bucket lacks, the deployments under way there."""
    return await fleet_queries.region_detail(parts, region_name(region))


@get("/v1/machines/{machine:str}", guards=PEOPLE, errors=(NotFound,))
async def get_machine(machine: MachineInPath, parts: PartsHere, wait_s: WaitS = 0.0) -> MachineDetail:
    """One machine.

    With ``wait_s`` its region is asked what runs there; the answer comes without it when the wait is over.
    """
    return await fleet_queries.machine_detail(parts, machine_id(machine), held_s(wait_s, MACHINE_WAIT_S_MAX))


@put("/v1/machines/{machine:str}/labels", status_code=200, guards=PEOPLE, errors=(NotFound, Conflict, Unprocessable))
async def label_machine(machine: MachineInPath, data: JSONBody[LabelsRequest], parts: PartsHere) -> MachineDetail:
    """Give a machine these labels over its own, and no others.

    It takes them up within a few seconds.
    """
    async with parts.database.transaction() as tx:
        await labels.give(tx, machine_id(machine), data.labels, data.instead_of)
    parts.controller.wake()
    return await fleet_queries.machine_detail(parts, machine_id(machine), 0)


@get("/v1/names", guards=PEOPLE)
async def find_names(
    word: Annotated[str, QueryParameter(max_length=WORD_CHARS_MAX, description="What somebody typed.")],
    parts: PartsHere,
) -> WordMeaning:
    """What has this name, of whatever kind; where nothing has, what has a similar one."""
    async with parts.database.reading() as reading:
        return await meaning(reading, word)


async def _drained(parts: Parts, region: str, *, drained: bool) -> FleetStatus:
    async with parts.database.transaction() as tx:
        await inventory.drain(tx, region_name(region), drained=drained)
    parts.stir()
    return await queries.fleet_status(parts)


HANDLERS = (
    get_status,
    list_regions,
    list_machines,
    list_region_rollbacks,
    drain_region,
    undrain_region,
    retire_machine,
    get_region,
    get_machine,
    label_machine,
    find_names,
)
