"""The tables of what an installation knows of itself: who controls it, and where what its database holds comes from.

As in ``tables.py``: times are BIGINT, the database's clock in UTC milliseconds.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text, text

from fleetcast.schema.columns import Id
from fleetcast.schema.tables import metadata

control_processes: Final = Table(
    "control_processes",
    metadata,
    # Those that run, each said again and again by itself; one that ends takes its row away.
    Column("id", String(32), primary_key=True),
    # Host and address of its API.
    Column("place", Text, nullable=False),
    Column("version", String(32), nullable=False),
    Column("protocol", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    # How far its host's clock is ahead of the database's.
    Column("clock_ahead_ms", BigInteger, nullable=False, server_default=text("0")),
)

origins: Final = Table(
    "origins",
    metadata,
    # Whenever all that is here was put in at once: the last one says which history this is.
    Column("id", Id, primary_key=True, autoincrement=True),
    # RESTORED or MOVED.
    Column("kind", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
    # No goal is written in a lower one (law 3).
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    # From when, for people; what was moved.
    Column("text", Text, nullable=False, server_default=""),
    sqlite_autoincrement=True,
)
