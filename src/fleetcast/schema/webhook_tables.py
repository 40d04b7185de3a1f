"""The tables of those who are told by HTTP of what happens, and of what they are still to be told.

As in ``tables.py``: times are BIGINT, the database's clock in UTC milliseconds.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, text

from fleetcast.schema.columns import AsJson, Id
from fleetcast.schema.tables import metadata

webhooks: Final = Table(
    "webhooks",
    metadata,
    Column("name", String(63), primary_key=True),
    # It and the key by which is signed are secrets, and needed as they are.
    Column("url", Text, nullable=False),
    Column("events", AsJson(tuple[str, ...]), nullable=False),
    Column("services", AsJson(tuple[str, ...]), nullable=False),
    Column("form", String(16), nullable=False),
    Column("secret", Text, nullable=False, server_default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # It is told what happened behind this event.
    Column("since_event_id", BigInteger, nullable=False),
    # In a row; until when nothing is sent because of them, NULL: there are none.
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("again_at", BigInteger),
    # What became of the last request: its error is empty when it was delivered.
    Column("last_at", BigInteger),
    Column("last_kind", String(32), nullable=False, server_default=""),
    Column("last_status", Integer),
    Column("last_error", Text, nullable=False, server_default=""),
)

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("webhook", String(63), nullable=False),
    # By which a receiver knows one that comes again.
    Column("message", String(64), nullable=False),
    Column("event_id", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # When it is sent, or tried again; NULL: it has ended.
    Column("send_at", BigInteger),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("error", Text, nullable=False, server_default=""),
    # Delivered, or, where the error is not empty, given up.
    Column("ended_at", BigInteger),
    # Law 1: who sends it, until when.
    Column("token", String(64)),
    Column("claim_expires_at", BigInteger),
    Index("ix_webhook_deliveries_webhook_send_at", "webhook", "send_at"),
    Index("ix_webhook_deliveries_ended_at", "ended_at"),
    sqlite_autoincrement=True,
)
