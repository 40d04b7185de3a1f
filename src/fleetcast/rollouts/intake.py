"""What regions tell control: that they exist, which machines they have, how far deployments and copies are.

Reports repeat everything, the last one wins, and a lost one is made good by the next (law 12).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import structlog
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.errors import NotFound
from fleetcast.model.event import EventKind
from fleetcast.model.ids import RegionName
from fleetcast.model.limits import ALARMS_MAX, MACHINE_SILENCE_S_MAX, ROLLUP_AFTERMATH_S
from fleetcast.model.messages.regions import RegionHello, RegionReport
from fleetcast.model.report import DeploymentRollup
from fleetcast.rollouts import demands, region_rollbacks
from fleetcast.rollouts.deployments import UNFINISHED
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.events import record_event
from fleetcast.schema.tables import copies, deployments, machines, regions, releases, rollups
from fleetcast.schema.upsert import upsert
from fleetcast.stores.database import Database, read_clock_ms

log = structlog.get_logger(__name__)

_PLACES: Final = select(
    machines.c.id, machines.c.zone, machines.c.rack, machines.c.labels, machines.c.last_seen_at, machines.c.retired_at
)


async def record_hello(database: Database, hello: RegionHello) -> None:
    """Know the region, and where its bucket is, from now on. A drained one stays drained.

    A new one has to copy what the others have before anything waits for it, like one that is back from a silence: counted at
    once it would take from every release that it can be deployed, until the last of them is there.
    """
    async with database.transaction() as tx:
        now = await read_clock_ms(tx)
        known = (await tx.execute(select(regions.c.name).where(regions.c.name == hello.region))).one_or_none()
        row = {"name": hello.region, "data_url": hello.data_url, "data_key": hello.data_key, "hello_at": now}
        text = ""
        if known is None and await _has_to_catch_up(tx):
            row |= {"drained": True, "silent_at": now, "returned_at": now}
            text = "nothing waits for it until it has every release"
        await upsert(tx, regions, [row], update=["data_url", "data_key", "hello_at"])
        if known is None:
            record_event(tx, EventKind.REGION_JOINED, hello.region, text=text)
    log.info("region_hello", region=hello.region, data_url=hello.data_url)


async def _has_to_catch_up(tx: AsyncConnection) -> bool:
    """Whether there are releases, and another region by which they are."""
    counting = select(regions.c.name).where(regions.c.drained.is_(False)).limit(1)
    deployable = select(releases.c.digest).where(releases.c.deployable).limit(1)
    return (await tx.execute(counting)).first() is not None and (await tx.execute(deployable)).first() is not None


async def record_report(database: Database, report: RegionReport) -> int:
    """Take in a report, in one transaction: machines and roll-ups that are read together agree. Returns the database's clock.

    What is known of the machines is read before it, so that 20,000 of them do not keep every other writer waiting; reports
    that cross each other leave what the last one says.

    Raises:
        NotFound: the region never said hello here: it has to, first.
    """
    async with database.reading() as reading:
        before = {row.id: row for row in await reading.execute(_PLACES.where(machines.c.region == report.region))}
    async with database.transaction() as tx:
        now = await read_clock_ms(tx)
        told = select(regions.c.alarms, regions.c.silent_at, regions.c.returned_at).where(regions.c.name == report.region)
        stored = (await tx.execute(told)).one_or_none()
        written: dict[str, Any] = {"last_report_at": now, "alarms": report.alarms[:ALARMS_MAX]}
        if stored is not None and stored.silent_at is not None and stored.returned_at is None:
            written["returned_at"] = now
        known = await tx.execute(update(regions).where(regions.c.name == report.region).values(written))
        if known.rowcount != 1:
            raise NotFound(
                "unknown_region", f"region {report.region} has not said hello here: POST /v1/regions/{report.region}/hello"
            )
        await _record_machines(tx, report, before, now)
        await _record_rollups(tx, report, now)
        await _record_copies(tx, report, now)
        await demands.followed(tx, report.region, report.demands)
        await region_rollbacks.record(tx, report.region, report.rollbacks, now)
    for alarm in report.alarms:
        if stored is None or alarm not in stored.alarms:
            log.warning("region_alarm", region=report.region, alarm=alarm)
    return now


async def _record_machines(tx: AsyncConnection, report: RegionReport, before: Mapping[str, AnyRow], now: int) -> None:
    """Machines that are new, back, moved, relabelled, or were last written as seen a good while ago. A machine is where the
    last region that reported it says."""
    fresh_enough = now - MACHINE_SILENCE_S_MAX * 1000 // 2
    changed: list[dict[str, Any]] = []
    for machine in report.machines:
        row = before.get(machine.id)
        place = (machine.zone, machine.rack, dict(machine.labels))
        if (
            row is not None
            and row.retired_at is None
            and (row.zone, row.rack, row.labels) == place
            and fresh_enough < row.last_seen_at <= now  # later than now: the clock was set back
        ):
            continue
        changed.append(
            {
                "id": machine.id,
                "region": report.region,
                "zone": machine.zone,
                "rack": machine.rack,
                "labels": machine.labels,
                "joined_at": now,
                "last_seen_at": now,
                "retired_at": None,
            }
        )
    await upsert(tx, machines, changed, update=["region", "zone", "rack", "labels", "last_seen_at", "retired_at"])
    joined = sum(row["id"] not in before for row in changed)
    if joined:
        record_event(tx, EventKind.MACHINES_JOINED, report.region, text=f"{joined} machine{'s' if joined > 1 else ''}")
        log.info("machines_joined", region=report.region, count=joined)


async def _record_rollups(tx: AsyncConnection, report: RegionReport, now: int) -> None:
    """Of unfinished deployments. An ended one's counts are frozen; its picture follows its machines for a little longer."""
    told = [rollup.deployment for rollup in report.rollups]
    wanted = select(deployments.c.id, deployments.c.state).where(
        deployments.c.id.in_(told),
        or_(deployments.c.state.in_(UNFINISHED), deployments.c.finished_at > now - ROLLUP_AFTERMATH_S * 1000),
    )
    state = {row.id: row.state for row in await tx.execute(wanted)}
    of_interest = [rollup for rollup in report.rollups if rollup.deployment in state]
    rows = [_rollup_row(rollup, report.region, now) for rollup in of_interest if state[rollup.deployment] in UNFINISHED]
    if rows:
        await upsert(tx, rollups, rows, update=[name for name in rows[0] if name not in ("deployment", "region")])
    for rollup in of_interest:
        if state[rollup.deployment] not in UNFINISHED:
            which = rollups.c.deployment == rollup.deployment, rollups.c.region == report.region
            await tx.execute(update(rollups).where(*which).values(phases=rollup.phases, machines=rollup.machines))


def _rollup_row(rollup: DeploymentRollup, region: RegionName, now: int) -> dict[str, Any]:
    return {
        "deployment": rollup.deployment,
        "region": region,
        "epoch": rollup.generation.epoch,
        "counter": rollup.generation.counter,
        "selected": rollup.selected,
        "reporting": rollup.reporting,
        "fetched": rollup.fetched,
        "active": rollup.active,
        "failed": rollup.failed,
        "origin_bytes": rollup.bytes.origin,
        "peer_bytes": rollup.bytes.peer,
        "local_bytes": rollup.bytes.local,
        "last_active_at": now - rollup.last_active_age_ms if rollup.active else None,
        "failures": rollup.failures,
        "waiting": rollup.waiting,
        "reported_at": now,
        "phases": rollup.phases,
        "machines": rollup.machines,
        "cohort": rollup.cohort,
    }


async def _record_copies(tx: AsyncConnection, report: RegionReport, now: int) -> None:
    rows = await tx.execute(select(copies).where(copies.c.region == report.region))
    before = {(row.digest, row.bytes_copied, row.bytes_total, row.error, row.given_up) for row in rows}
    after = {(copy.digest, copy.bytes_copied, copy.bytes_total, copy.error, copy.given_up) for copy in report.copies}
    if before == after:
        return
    await tx.execute(delete(copies).where(copies.c.region == report.region))
    names = ("digest", "bytes_copied", "bytes_total", "error", "given_up")
    told = {copy[0]: dict(zip(names, copy, strict=True)) for copy in sorted(after)}
    if told:
        await tx.execute(insert(copies), [{"region": report.region, "updated_at": now, **copy} for copy in told.values()])
