"""The table of what regions did past control. As in ``tables.py``: times are BIGINT, the database's clock in UTC
milliseconds."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table, Text

from fleetcast.model.region_rollback import RegionRollback
from fleetcast.schema.columns import AsJson
from fleetcast.schema.tables import metadata

region_rollbacks: Final = Table(
    "region_rollbacks",
    metadata,
    # Made at a region past control, by the id under which its machines know it.
    Column("id", String(32), primary_key=True),
    Column("region", String(63), ForeignKey("regions.name"), nullable=False),
    Column("service", String(63), nullable=False),
    Column("environment", String(63), nullable=False),
    Column("rollback", AsJson(RegionRollback), nullable=False),
    # Of the goal that the region has for it: goals that are to go everywhere are above it.
    Column("epoch", BigInteger, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    # Since when it stands no more, and why; NULL: it stands.
    Column("over_at", BigInteger),
    Column("over_why", Text, nullable=False, server_default=""),
    Index("ix_region_rollbacks_service_environment", "service", "environment"),
)
