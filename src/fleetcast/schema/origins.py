"""Where what a database holds comes from: it began here, with a backup that was restored, or on other engines."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.schema.columns import AnyRow
from fleetcast.schema.installation_tables import origins


class OriginKind(StrEnum):
    RESTORED = "RESTORED"
    MOVED = "MOVED"
    """The same history on other engines. Its text is the sums of the tables that were moved."""


async def last_origin(reading: AsyncConnection) -> AnyRow | None:
    """The row that says which history this is; ``None``: it began here."""
    return (await reading.execute(select(origins).order_by(origins.c.id.desc()).limit(1))).one_or_none()


async def least_epoch(reading: AsyncConnection) -> int:
    """The epoch in which a service's first goal is written: somebody may hold one that a restored database never knew."""
    return int((await reading.execute(select(func.max(origins.c.epoch)))).scalar_one() or 0)
