"""How much there is of artifacts."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.messages.fleet import StoredTotals
from fleetcast.model.retention import Collection
from fleetcast.schema.tables import artifacts


async def stored_totals(reading: AsyncConnection) -> StoredTotals:
    """Of the main store, and of each region's bucket."""
    kept = artifacts.c.collection == Collection.KEPT
    main = await _count_and_bytes(reading, kept)
    copied = await _count_and_bytes(reading, artifacts.c.published_at.is_not(None))
    pinned = await _count_and_bytes(reading, artifacts.c.pinned_at.is_not(None) & kept)
    return StoredTotals(*main, *copied, pinned[0])


async def _count_and_bytes(reading: AsyncConnection, which: ColumnElement[bool]) -> tuple[int, int]:
    size = (artifacts.c.manifest_size + artifacts.c.content_size).label("size")
    each = select(artifacts.c.digest, size).where(which).distinct().subquery()
    row = (await reading.execute(select(func.count(), func.coalesce(func.sum(each.c.size), 0)).select_from(each))).one()
    return int(row[0]), int(row[1])
