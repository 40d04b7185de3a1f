"""The tables of how deployments go on wave by wave, and of what holds them back.

As in ``tables.py``: times are BIGINT, the database's clock in UTC milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String, Table, Text, text

from fleetcast.model.freeze import Freeze
from fleetcast.model.ids import RegionName, ServiceName
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
    # Regions that it goes on without; NULL: none.
    Column("skipped", AsJson(tuple[RegionName, ...])),
    # Who triggered it, by the name of a token; NULL: nobody did, or an older version knew no names.
    Column("by_whom", String(63)),
    # Why freezes do not hold it; NULL: they do.
    Column("override_freeze", Text),
    # The environment whose release it takes over; why it may come although what its own requires does not hold.
    Column("promoted_from", String(63)),
    Column("override", Text),
    # Since when something has held back its next wave.
    Column("held_at", BigInteger),
)

approvals: Final = Table(
    "approvals",
    metadata,
    # Of a step of a deployment: the index of the wave that it lets in.
    Column("deployment", String(32), ForeignKey("deployments.id"), primary_key=True),
    Column("wave", Integer, primary_key=True, autoincrement=False),
    Column("by_whom", String(63), primary_key=True),
    Column("at", BigInteger, nullable=False),
)

outside_checks: Final = Table(
    "outside_checks",
    metadata,
    # Of one wave of a deployment, by their place in its plan; only those of the wave under way are asked.
    Column("deployment", String(32), ForeignKey("deployments.id"), primary_key=True),
    Column("wave", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # When it is asked next; NULL: at once.
    Column("ask_at", BigInteger),
    # Law 1: who asks, until when.
    Column("token", String(64)),
    Column("claim_expires_at", BigInteger),
    # The last answer; NULL: there was none yet.
    Column("outcome", String(16)),
    Column("figures", Text, nullable=False, server_default=""),
    Column("output", Text, nullable=False, server_default=""),
    Column("answered_at", BigInteger),
    # In a row.
    Column("failures", Integer, nullable=False, server_default=text("0")),
    # Since which answer none has passed; NULL: the last one has.
    Column("not_passed_since", BigInteger),
)

freezes: Final = Table(
    "freezes",
    metadata,
    # Of the whole company, or of the services named; those of one service are in its plan.
    Column("name", String(63), primary_key=True),
    Column("freeze", AsJson(Freeze), nullable=False),
    Column("services", AsJson(tuple[ServiceName, ...]), nullable=False),
    Column("by_whom", String(63), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
