"""Read models: one machine, one region, one word, as people are shown them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.control.parts import Parts
from fleetcast.http.holding import hold
from fleetcast.model.ids import Digest, MachineId, RegionName
from fleetcast.model.limits import DEPLOYMENT_LOOK_INTERVAL_S
from fleetcast.model.messages.fleet import MachineDetail, RegionDeployment, RegionDetail, RegionStatus
from fleetcast.model.replication import CopyProgress
from fleetcast.model.report import MachineAnswer
from fleetcast.rollouts import inventory, labels, questions
from fleetcast.rollouts.deployments import unfinished_deployments
from fleetcast.rollouts.progress import by_region
from fleetcast.schema.tables import copies
from fleetcast.stores.database import read_clock_ms


async def machine_detail(parts: Parts, machine: MachineId, wait_s: float) -> MachineDetail:
    """With ``wait_s`` its region is asked, and given so long. Raises :class:`NotFound`."""
    async with parts.database.reading() as reading:
        known = await inventory.known_machine(reading, machine)
    answer, waited_s = None, 0.0
    if wait_s > 0:
        async with parts.database.transaction() as tx:
            asked_at_ms = await questions.ask(tx, machine, known.machine.region)
        if asked_at_ms is not None:
            answer, waited_s = await _answer(parts, machine, asked_at_ms, wait_s), wait_s
    async with parts.database.reading() as reading:
        known = await inventory.known_machine(reading, machine)
        region = await inventory.known_region(reading, known.machine.region)
        return MachineDetail(
            machine=known.machine,
            given=await labels.given_to(reading, machine),
            joined_at_ms=known.joined_at_ms,
            last_seen_at_ms=known.last_seen_at_ms,
            retired_at_ms=known.retired_at_ms,
            region_drained=region.drained,
            region_report_age_s=region.last_report_age_s,
            waited_s=waited_s,
            answer=answer,
            now_ms=await read_clock_ms(reading),
        )


async def _answer(parts: Parts, machine: MachineId, asked_at_ms: int, wait_s: float) -> MachineAnswer | None:
    async def look() -> MachineAnswer | None:
        async with parts.database.reading() as reading:
            return await questions.answer_since(reading, machine, asked_at_ms)

    return await hold(parts.news, look, wait_s=wait_s, poll_s=DEPLOYMENT_LOOK_INTERVAL_S)


async def region_detail(parts: Parts, name: RegionName) -> RegionDetail:
    """Raises :class:`NotFound`."""
    async with parts.database.reading() as reading:
        region = await inventory.known_region(reading, name)
        machines = (await inventory.count_machines(reading)).get(name, 0)
        return RegionDetail(
            region=status_of(region, machines),
            started_age_s=region.started_age_s,
            silent=await inventory.count_silent(reading, name),
            copies=await _copies(reading, name),
            deployments=await _deployments(reading, name),
        )


def status_of(region: inventory.Region, machines: int) -> RegionStatus:
    """As people see a region that has so many machines."""
    return RegionStatus(
        region.name,
        region.drained,
        region.last_report_age_s,
        machines,
        region.alarms,
        region.silent_at_ms,
        region.returned,
    )


def silence_alarm(region: inventory.Region) -> str:
    """Of a region that is drained by itself; empty: it is not."""
    if region.silent_at_ms is None:
        return ""
    if region.returned:
        return f"region {region.name} catches up: nothing waits for it until it has every release"
    return f"region {region.name} says nothing: nothing waits for it until it is back and has caught up"


async def _copies(reading: AsyncConnection, region: RegionName) -> tuple[CopyProgress, ...]:
    rows = await reading.execute(select(copies).where(copies.c.region == region).order_by(copies.c.digest))
    return tuple(CopyProgress(Digest(row.digest), row.bytes_copied, row.bytes_total, row.error, row.given_up) for row in rows)


async def _deployments(reading: AsyncConnection, region: RegionName) -> tuple[RegionDeployment, ...]:
    found = []
    for deployment, selector in await unfinished_deployments(reading):
        for part in await by_region(reading, deployment.id, selector, deployment.skipped):
            if part.facts.region == region:
                facts = part.facts
                found.append(
                    RegionDeployment(
                        deployment, facts.expected, part.reporting, part.fetched, facts.active, facts.failed, part.bytes
                    )
                )
    return tuple(found)
