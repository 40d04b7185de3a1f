"""What a live picture of a deployment shows of each region, put together from what regions, buckets and inventory say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.builds.queue import count_ahead
from fleetcast.control.parts import Parts
from fleetcast.model.build import Build
from fleetcast.model.deployment import ByteCounts, Deployment, DeploymentState
from fleetcast.model.ids import RegionName
from fleetcast.model.limits import MACHINE_SILENCE_S_MAX
from fleetcast.model.picture import RegionPicture
from fleetcast.model.replication import Replica, ReplicaStatus
from fleetcast.model.report import MachineProgress, NamedFailure, Phase
from fleetcast.replication.missing import BEING_COPIED
from fleetcast.rollouts.counting import expected
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.tables import copies, deployments, regions, rollups
from fleetcast.stores.database import read_clock_ms


@dataclass(frozen=True, slots=True)
class Picture:
    """``age_s``: since the trigger, until the end. Ages are as of now and make no news."""

    regions: tuple[RegionPicture, ...]
    builds_ahead: int
    age_s: float

    @property
    def without_ages(self) -> tuple[object, ...]:
        return tuple(replace(region, last_report_age_s=None) for region in self.regions), self.builds_ahead


async def picture_of(parts: Parts, shown: Deployment, build: Build | None, replicas: Sequence[Replica]) -> Picture:
    """Of regions by name, drained ones left out."""
    async with parts.database.reading() as reading:
        now = await read_clock_ms(reading)
        selector = (await reading.execute(select(deployments.c.selector).where(deployments.c.id == shown.id))).scalar_one()
        meant = await expected(reading, selector)
        counts = {region: count for region, count in meant.items() if region not in shown.skipped}
        heard = {row.name: row.last_report_at for row in await reading.execute(_REGIONS)}
        sums = {row.region: row for row in await reading.execute(select(rollups).where(rollups.c.deployment == shown.id))}
        copying = await _copying(reading, shown)
        ahead = 0 if build is None else await count_ahead(reading, build)
    copied = {replica.bucket: replica for replica in replicas}
    names = sorted(name for name in heard if name in counts or name in copied)
    pictures = []
    for name in names:
        picture = RegionPicture(
            name=RegionName(name),
            expected=counts.get(RegionName(name), 0),
            last_report_age_s=None if heard[name] is None else max(0, now - heard[name]) / 1000,
        )
        picture = _with_copy(picture, shown, copied.get(RegionName(name)), copying.get(name))
        picture = _with_machines(picture, sums.get(name))
        pictures.append(replace(picture, waiting_for=_waits_for(picture, shown, copied.get(RegionName(name)))))
    ended = shown.finished_at_ms if shown.finished_at_ms is not None else now
    return Picture(tuple(pictures), ahead, max(0, ended - shown.created_at_ms) / 1000)


_WAITING: Final = (None, Phase.FETCHING, Phase.FETCHED)
_REGIONS: Final = select(regions.c.name, regions.c.last_report_at).where(regions.c.drained.is_(False)).order_by(regions.c.name)


async def _copying(reading: AsyncConnection, shown: Deployment) -> Mapping[str, AnyRow]:
    if shown.release is None:
        return {}
    rows = await reading.execute(select(copies).where(copies.c.digest == shown.release.digest))
    return {row.region: row for row in rows}


def _with_copy(picture: RegionPicture, shown: Deployment, replica: Replica | None, row: AnyRow | None) -> RegionPicture:
    if shown.release is None:
        return picture
    total = shown.artifact_bytes or 0
    status = ReplicaStatus.PENDING if replica is None else replica.status
    done = total if status is ReplicaStatus.COMPLETE else 0 if row is None else min(row.bytes_copied, total)
    return replace(picture, copy=status, copy_bytes=done, copy_bytes_total=total)


def _with_machines(picture: RegionPicture, row: AnyRow | None) -> RegionPicture:
    if row is None:
        return picture
    return replace(
        picture,
        reporting=row.reporting,
        fetched=row.fetched,
        active=row.active,
        failed=row.failed,
        phases=row.phases,
        bytes=ByteCounts(row.origin_bytes, row.peer_bytes, row.local_bytes),
        machines=row.machines or _named(row.failures, row.waiting),
    )


def _named(failures: Sequence[NamedFailure], waiting: Sequence[NamedFailure]) -> tuple[MachineProgress, ...]:
    """What a region of an older version names."""
    failed = tuple(MachineProgress(each.machine, Phase.FAILED, note=each.error) for each in failures)
    return failed + tuple(MachineProgress(each.machine, None, note=each.error) for each in waiting)


def _waits_for(picture: RegionPicture, shown: Deployment, replica: Replica | None) -> str:
    if shown.state.ended or shown.state is DeploymentState.BUILDING:
        return ""
    if picture.last_report_age_s is None or picture.last_report_age_s > MACHINE_SILENCE_S_MAX:
        return "a report of the region"
    if picture.copy != ReplicaStatus.COMPLETE:
        if replica is None:
            return "the first look into its bucket"
        if replica.reason == BEING_COPIED:
            return ""
        return f"{'another attempt' if replica.status is ReplicaStatus.FAILED else 'its copy'}: {replica.reason}"
    if shown.state is not DeploymentState.DISTRIBUTING or picture.active >= picture.expected:
        return ""
    said = (machine for machine in picture.machines if machine.phase in _WAITING and machine.note)
    return next((f"{machine.machine}: {machine.note}" for machine in said), "")
