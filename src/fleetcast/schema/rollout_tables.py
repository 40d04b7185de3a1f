"""The table of how deployments go on wave by wave. As in ``tables.py``: times are BIGINT, the database's clock in UTC
milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String, Table

from fleetcast.model.ids import RegionName
from fleetcast.model.plan import Plan, Policy
from fleetcast.schema.columns import AsJson
from fleetcast.schema.tables import metadata

rollouts: Final = Table(
    "rollouts",
    metadata,
    # How a deployment goes on wave by wave. A deployment of an older version has none: everybody at once.
    Column("deployment", String(32), ForeignKey("deployments.id"), primary_key=True),
    Column("policy", AsJson(Policy), nullable=False),
    # Drawn up when the goal is written; NULL before, and where everybody is let in at once.
    Column("plan", AsJson(Plan)),
    # The wave that was let in last, from 0; when, by which generation of the goal, and how many machines are inside by region.
    Column("wave", Integer),
    Column("wave_at", BigInteger),
    Column("wave_epoch", BigInteger),
    Column("wave_counter", BigInteger),
    Column("wave_expected", AsJson(Mapping[RegionName, int])),
    # Those of them that said nothing then.
    Column("wave_silent", AsJson(Mapping[RegionName, int])),
    # Since when everybody inside has been healthy; NULL: not everybody is.
    Column("healthy_at", BigInteger),
    # The wave whose bake somebody skips.
    Column("promoted_wave", Integer),
    Column("paused_at", BigInteger),
)
