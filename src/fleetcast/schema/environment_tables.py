"""The table of what services have beside their own environment. As in ``tables.py``: times are BIGINT, the database's clock in
UTC milliseconds.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, String, Table, false, text

from fleetcast.model.machine import Selector
from fleetcast.model.plan import Policy
from fleetcast.schema.columns import AsJson
from fleetcast.schema.tables import metadata

environments: Final = Table(
    "environments",
    metadata,
    # The default one is part of the service's row.
    Column("service", String(63), ForeignKey("services.name"), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("selector", AsJson(Selector), nullable=False),
    Column("max_unavailable", Integer),
    Column("max_unavailable_rollback", Integer),
    Column("max_unavailable_zone", Integer),
    Column("max_unavailable_rack", Integer),
    Column("plan", AsJson(Policy), nullable=False, server_default=text("'{}'")),
    # What comes here has succeeded in that one before.
    Column("requires", String(63)),
    Column("takes_pushes", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # Its tombstone is the goal.
    Column("removed_at", BigInteger),
)
