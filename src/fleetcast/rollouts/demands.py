"""What people want copied now: kept until the region says that it follows, told it in the answer to each report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.ids import Digest, RegionName
from fleetcast.model.limits import COPY_DEMAND_S_MAX, COPY_DEMANDS_MAX
from fleetcast.model.replication import CopyDemand
from fleetcast.schema.copy_tables import copy_demands
from fleetcast.schema.upsert import upsert
from fleetcast.stores.database import now_ms, read_clock_ms


async def demand(tx: AsyncConnection, digest: Digest, regions: Sequence[RegionName]) -> None:
    """Have these regions attempt a copy now. Drops demands that nobody could be told of in time."""
    await tx.execute(delete(copy_demands).where(copy_demands.c.asked_at < now_ms() - COPY_DEMAND_S_MAX * 1000))
    now = await read_clock_ms(tx)
    await upsert(
        tx,
        copy_demands,
        [{"region": region, "digest": digest, "asked_at": now} for region in regions],
        update=["asked_at"],
    )


async def wanted(reading: AsyncConnection, region: RegionName) -> tuple[CopyDemand, ...]:
    """What a region is to attempt now, the first asked first."""
    rows = await reading.execute(
        select(copy_demands)
        .where(copy_demands.c.region == region)
        .order_by(copy_demands.c.asked_at, copy_demands.c.digest)
        .limit(COPY_DEMANDS_MAX)
    )
    return tuple(CopyDemand(Digest(row.digest), row.asked_at) for row in rows)


async def followed(tx: AsyncConnection, region: RegionName, demands: Iterable[CopyDemand]) -> None:
    """A region follows these; one that was made again meanwhile stays."""
    for each in demands:
        await tx.execute(
            delete(copy_demands).where(
                copy_demands.c.region == region,
                copy_demands.c.digest == each.digest,
                copy_demands.c.asked_at == each.asked_at_ms,
            )
        )
