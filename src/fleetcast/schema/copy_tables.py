"""The tables of copies that regions are to attempt now, and of those that they may delete."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, String, Table

from fleetcast.schema.tables import metadata

copy_demands: Final = Table(
    "copy_demands",
    metadata,
    # Copies that people want attempted now: the region is told in the answer to its next report. Dropped soon after.
    Column("region", String(63), ForeignKey("regions.name"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("asked_at", BigInteger, nullable=False),
)

deletions: Final = Table(
    "deletions",
    metadata,
    # A region may be deleting its copy at this moment: until it says that it is not, that copy counts for nothing.
    Column("region", String(63), ForeignKey("regions.name"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("granted_at", BigInteger, nullable=False),
)
