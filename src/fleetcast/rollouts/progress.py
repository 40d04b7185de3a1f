"""How far a deployment is: what regions reported, against what the inventory expects."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import ByteCounts, Progress
from fleetcast.model.ids import DeploymentId, RegionName
from fleetcast.model.machine import Selector
from fleetcast.rollouts.counting import Counting, meant
from fleetcast.rollouts.gate import RegionFacts
from fleetcast.schema.tables import rollups
from fleetcast.stores.database import read_clock_ms


@dataclass(frozen=True, slots=True)
class RegionProgress:
    """One region that holds machines the deployment means. Counts of machines."""

    facts: RegionFacts
    reporting: int = 0
    fetched: int = 0
    bytes: ByteCounts = field(default_factory=ByteCounts)
    last_active_at_ms: int | None = None


async def by_region(
    reading: AsyncConnection,
    deployment: DeploymentId,
    selector: Selector,
    skipped: Collection[RegionName],
    counting: Counting = meant,
) -> tuple[RegionProgress, ...]:
    """Every region that counts, by name, but those ``skipped``; one that has not reported has zeros."""
    rows = {row.region: row for row in await reading.execute(select(rollups).where(rollups.c.deployment == deployment))}
    found: list[RegionProgress] = []
    now = await read_clock_ms(reading)
    for region, count in (await counting(reading, selector)).items():
        if region in skipped:
            continue
        row = rows.get(region)
        if row is None:
            found.append(RegionProgress(RegionFacts(region, count.machines, silent=count.silent, report_age_s=math.inf)))
            continue
        found.append(
            RegionProgress(
                RegionFacts(
                    region,
                    count.machines,
                    row.active,
                    row.failed,
                    row.failures,
                    row.waiting,
                    row.cohort,
                    silent=count.silent,
                    report_age_s=abs(now - row.reported_at) / 1000,  # dated later than now: before the clock was set back
                ),
                reporting=row.reporting,
                fetched=row.fetched,
                bytes=ByteCounts(row.origin_bytes, row.peer_bytes, row.local_bytes),
                last_active_at_ms=row.last_active_at,
            )
        )
    return tuple(found)


def total(regions: Sequence[RegionProgress]) -> Progress:
    """The fleet's sum."""
    return Progress(
        total=sum(region.facts.expected for region in regions),
        reporting=sum(region.reporting for region in regions),
        fetched=sum(region.fetched for region in regions),
        active=sum(region.facts.active for region in regions),
        failed=sum(region.facts.failed for region in regions),
        bytes=sum((region.bytes for region in regions), ByteCounts()),
    )
