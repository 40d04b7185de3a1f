"""The regions and machines that control knows of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog
from sqlalchemy import ColumnElement, Text, func, or_, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.errors import NotFound, Refused
from fleetcast.model.event import EventKind
from fleetcast.model.goal import activation_hash
from fleetcast.model.ids import DeploymentId, MachineId, RegionName
from fleetcast.model.limits import CLOCK_SKEW_S_MAX, MACHINE_SILENCE_S_MAX
from fleetcast.model.machine import Machine, Selector
from fleetcast.rollouts.cohorts import Alike
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.events import record_event
from fleetcast.schema.tables import machines, regions
from fleetcast.stores.database import now_ms, read_clock_ms

log = structlog.get_logger(__name__)

SILENT: Final = or_(
    machines.c.last_seen_at < now_ms() - 2 * MACHINE_SILENCE_S_MAX * 1000,
    # Seen last before the clock was set back: one that reports is seen anew.
    machines.c.last_seen_at > now_ms() + CLOCK_SKEW_S_MAX * 1000,
)
_MEANT_TO_RUN = (machines.c.retired_at.is_(None), regions.c.drained.is_(False))


@dataclass(frozen=True, slots=True)
class Region:
    """A region that said hello. ``data_key`` is a secret: it signs grants on the data port at ``data_url``."""

    name: RegionName
    data_url: str
    data_key: str
    drained: bool
    started_age_s: float
    """Since its process last said hello."""
    last_report_age_s: float | None
    """``None``: it never reported."""
    alarms: tuple[str, ...]
    silent_at_ms: int | None
    """Since when it is drained for its silence, by the database's clock; ``None``: it is not."""
    returned: bool
    """It is heard of again since."""
    last_word_at_ms: int
    """Of its last hello or report, by the database's clock."""


@dataclass(frozen=True, slots=True)
class KnownMachine:
    """A machine as the inventory has it. Times are the database's clock, UTC milliseconds."""

    machine: Machine
    joined_at_ms: int
    last_seen_at_ms: int
    """Good to half of ``MACHINE_SILENCE_S_MAX``."""
    retired_at_ms: int | None


async def known_regions(reading: AsyncConnection) -> tuple[Region, ...]:
    """All of them, drained ones too, by name."""
    now = await read_clock_ms(reading)
    return tuple(
        Region(
            RegionName(row.name),
            row.data_url,
            row.data_key,
            row.drained,
            max(0, now - row.hello_at) / 1000,
            None if row.last_report_at is None else max(0, now - row.last_report_at) / 1000,
            row.alarms,
            row.silent_at,
            row.returned_at is not None,
            max(row.hello_at, row.last_report_at or 0),
        )
        for row in await reading.execute(select(regions).order_by(regions.c.name))
    )


async def known_region(reading: AsyncConnection, name: RegionName) -> Region:
    """A drained one too. Raises :class:`NotFound`."""
    for region in await known_regions(reading):
        if region.name == name:
            return region
    raise _unknown_region(name)


async def known_machines(
    reading: AsyncConnection, region: RegionName | None = None, after: str | None = None, *, at_most: int | None = None
) -> tuple[Machine, ...]:
    """Those that are not retired, by id: of a region or of all, behind the id ``after``."""
    rows = select(machines).where(machines.c.retired_at.is_(None)).order_by(machines.c.id).limit(at_most)
    if region is not None:
        rows = rows.where(machines.c.region == region)
    if after is not None:
        rows = rows.where(machines.c.id > after)
    return tuple(_machine(row) for row in await reading.execute(rows))


async def count_machines(reading: AsyncConnection) -> Mapping[RegionName, int]:
    """How many of each region are not retired; regions without any are left out."""
    counted = select(machines.c.region, func.count().label("known")).where(machines.c.retired_at.is_(None))
    return {RegionName(row.region): row.known for row in await reading.execute(counted.group_by(machines.c.region))}


async def known_machine(reading: AsyncConnection, machine: MachineId) -> KnownMachine:
    """A retired one too. Raises :class:`NotFound`."""
    row = (await reading.execute(select(machines).where(machines.c.id == machine))).one_or_none()
    if row is None:
        raise _unknown(machine)
    return KnownMachine(_machine(row), row.joined_at, row.last_seen_at, row.retired_at)


async def count_silent(reading: AsyncConnection, region: RegionName) -> int:
    """How many machines of a region that are not retired it has not mentioned for twice ``MACHINE_SILENCE_S_MAX``."""
    here = machines.c.region == region, machines.c.retired_at.is_(None)
    quiet = select(func.count()).select_from(machines).where(*here, SILENT)
    return int((await reading.execute(quiet)).scalar_one())


async def drain(tx: AsyncConnection, region: RegionName, *, drained: bool) -> None:
    """Leave a region out of what releases and deployments wait for, or count it again: a person says so.

    Raises:
        NotFound: no region of that name ever said hello.
        Refused: it is drained because it says nothing, and still does not.
    """
    row = (await tx.execute(select(regions).where(regions.c.name == region).with_for_update())).one_or_none()
    if row is None:
        raise _unknown_region(region)
    if row.silent_at is not None and row.returned_at is None and not drained:
        raise Refused(
            "region_silent",
            f"region {region} says nothing: nothing waits for it until it is back and has caught up; start it, or its network",
        )
    if (row.drained, row.silent_at) == (drained, None):
        return
    await tx.execute(update(regions).where(regions.c.name == region).values(drained=drained, silent_at=None, returned_at=None))
    record_event(tx, EventKind.REGION_DRAINED if drained else EventKind.REGION_UNDRAINED, region)
    log.info("region_drained" if drained else "region_undrained", region=region)


async def drain_silent(tx: AsyncConnection, region: RegionName, silence_s: float) -> None:
    """Leave a region out that said nothing for so long, unless it is drained already, until :func:`take_back`."""
    counting = update(regions).where(regions.c.name == region, regions.c.drained.is_(False))
    values = {"drained": True, "silent_at": await read_clock_ms(tx), "returned_at": None}
    if (await tx.execute(counting.values(values))).rowcount == 1:
        text = f"nothing heard of it for {silence_s:g} s: nothing waits for it until it is back and has caught up"
        record_event(tx, EventKind.REGION_SILENT, region, text=text)
        log.warning("region_silent", region=region, silence_s=silence_s)


async def silent_regions(reading: AsyncConnection) -> frozenset[RegionName]:
    """Those that are drained because they say nothing."""
    return frozenset((await reading.execute(select(regions.c.name).where(regions.c.silent_at.is_not(None)))).scalars())


async def still_silent(tx: AsyncConnection, region: RegionName) -> None:
    """One that came back and fell silent again before it had caught up."""
    back = update(regions).where(regions.c.name == region, regions.c.returned_at.is_not(None))
    await tx.execute(back.values(returned_at=None))


async def take_back(tx: AsyncConnection, region: RegionName) -> None:
    """Count a region that is back from its silence, or new, and has caught up, unless a person has decided otherwise."""
    back = update(regions).where(regions.c.name == region, regions.c.returned_at.is_not(None))
    if (await tx.execute(back.values(drained=False, silent_at=None, returned_at=None))).rowcount == 1:
        record_event(tx, EventKind.REGION_CAUGHT_UP, region)
        log.info("region_caught_up", region=region)


async def retire(tx: AsyncConnection, machine: MachineId) -> None:
    """Count a machine that is gone no more. One that reports again is back.

    Raises:
        NotFound: no such machine.
        Refused: it reported a moment ago.
    """
    row = (await tx.execute(select(machines.c.last_seen_at).where(machines.c.id == machine))).one_or_none()
    if row is None:
        raise _unknown(machine)
    now = await read_clock_ms(tx)
    # One that was seen later than now was last seen before the clock was set back.
    if now - MACHINE_SILENCE_S_MAX * 1000 < row.last_seen_at <= now:
        advice = f"stop its agent, and retire it {MACHINE_SILENCE_S_MAX} s later"
        raise Refused("machine_reports", f"machine {machine} reported less than {MACHINE_SILENCE_S_MAX} s ago: {advice}")
    present = update(machines).where(machines.c.id == machine, machines.c.retired_at.is_(None))
    if (await tx.execute(present.values(retired_at=now))).rowcount == 1:
        record_event(tx, EventKind.MACHINE_RETIRED, machine)
        log.info("machine_retired", machine=machine)


async def alike(reading: AsyncConnection, selector: Selector, deployment: DeploymentId) -> tuple[Alike, ...]:
    """All machines that ``selector`` matches, retired ones and those of drained regions left out, by where they are.

    One pass over them: each row costs a hash, and what a selector looks at is compared once for all that are alike.
    """
    labels = type_coerce(machines.c.labels, Text)  # as it stands: decoded once for all that have the same
    rows = select(machines.c.id, machines.c.region, machines.c.zone, labels, SILENT).join(regions)
    rows = rows.where(*_MEANT_TO_RUN, *may_match(selector))
    groups: dict[tuple[str, str, str], tuple[list[int], list[int]] | None] = {}
    likes: dict[tuple[str, str, str], Machine] = {}
    for id_, region, zone, text, is_silent in await reading.execute(rows):
        place = (region, zone, text)
        if place not in groups:
            labelled = msgspec.json.decode(text, type=dict[str, str])
            likes[place] = Machine(MachineId(""), RegionName(region), zone, labels=labelled)
            groups[place] = ([], []) if selector.matches(likes[place]) else None
        if (hashes := groups[place]) is not None:
            hashes[bool(is_silent)].append(activation_hash(deployment, id_))
    found = ((likes[place], hashes) for place, hashes in sorted(groups.items()) if hashes is not None)
    return tuple(Alike(like, sorted(reporting), sorted(quiet)) for like, (reporting, quiet) in found)


async def silent(reading: AsyncConnection, selector: Selector, at_most: int) -> tuple[MachineId, ...]:
    """Some of the machines that ``selector`` matches and no region has mentioned for twice ``MACHINE_SILENCE_S_MAX``."""
    quiet = select(machines).join(regions).where(*_MEANT_TO_RUN, SILENT, *may_match(selector)).order_by(machines.c.id)
    found = (machine for row in await reading.execute(quiet) if selector.matches(machine := _machine(row)))
    return tuple(machine.id for _, machine in zip(range(at_most), found, strict=False))


def may_match(selector: Selector) -> Iterator[ColumnElement[bool]]:
    """Conditions that hold for all machines that it matches, and few others: who matches is the selector's to say."""
    if selector.regions:
        yield machines.c.region.in_(selector.regions)
    if selector.zones:
        yield machines.c.zone.in_(selector.zones)
    for key, value in selector.labels.items():
        # The column has the same text for the same pair: ``"role":"web"``.
        pair = msgspec.json.encode({key: value}).decode().strip("{}")
        yield type_coerce(machines.c.labels, Text).contains(pair, autoescape=True)


def _unknown(machine: MachineId) -> NotFound:
    return NotFound("unknown_machine", f"there is no machine {machine!r}: fleetcast machine list shows those there are")


def _unknown_region(region: RegionName) -> NotFound:
    return NotFound("unknown_region", f"there is no region {region!r}: fleetcast status lists them")


def _machine(row: AnyRow) -> Machine:
    return Machine(MachineId(row.id), RegionName(row.region), row.zone, row.rack, row.labels)
