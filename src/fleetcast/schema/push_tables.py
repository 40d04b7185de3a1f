"""The tables of what comes from, and goes to, the servers that have the repositories.

As in ``tables.py``: times are BIGINT, the database's clock in UTC milliseconds, but for ``pushed_at``.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint, text

from fleetcast.model.messages.hooks import HookAnswer
from fleetcast.schema.columns import AsJson, Id
from fleetcast.schema.tables import metadata

trunk_heads: Final = Table(
    "trunk_heads",
    metadata,
    # Of services that want something done on a push. Written in the transaction of what it triggers, so a head triggers once.
    Column("service", String(63), ForeignKey("services.name"), primary_key=True),
    # NULL: nobody has seen one.
    Column("head", String(64)),
    # Where the trunk was before, by which pushes that come late are known.
    Column("passed", AsJson(tuple[str, ...]), nullable=False, server_default="[]"),
    # By the clock of the server that has the repository.
    Column("pushed_at", BigInteger),
    Column("seen_at", BigInteger, nullable=False),
    # When control looks at the branch next; NULL: it does not.
    Column("look_at", BigInteger),
    # Law 1: who looks, until when.
    Column("token", String(64)),
    Column("claim_expires_at", BigInteger),
    # In a row, and what the last one said.
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("error", Text, nullable=False, server_default=""),
    Index("ix_trunk_heads_look_at", "look_at"),
)

hook_deliveries: Final = Table(
    "hook_deliveries",
    metadata,
    # Webhooks that were carried out: one that comes again is answered as it was the first time.
    Column("forge", String(16), primary_key=True),
    Column("delivery", String(255), primary_key=True),
    # SHA-256 of the body.
    Column("digest", String(64), nullable=False),
    Column("answer", AsJson(HookAnswer), nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Index("ix_hook_deliveries_forge_digest", "forge", "digest"),
    Index("ix_hook_deliveries_received_at", "received_at"),
)

commit_statuses: Final = Table(
    "commit_statuses",
    metadata,
    # What servers are to show beside a commit: one row for each thing shown, its newest state, sent until it has arrived.
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("forge", String(16), nullable=False),
    # As the server calls it: team/web.
    Column("repository", Text, nullable=False),
    Column("service", String(63), nullable=False),
    Column("commit_sha", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("description", Text, nullable=False),
    # The build or deployment that it tells of.
    Column("subject", String(64), nullable=False),
    # The event that it comes from, and the one that was told last.
    Column("event_id", BigInteger, nullable=False),
    Column("told_event_id", BigInteger, nullable=False, server_default=text("0")),
    Column("updated_at", BigInteger, nullable=False),
    # When it is sent, or tried again; NULL: there is nothing to send.
    Column("send_at", BigInteger),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("error", Text, nullable=False, server_default=""),
    # Law 1: who sends it, until when.
    Column("token", String(64)),
    Column("claim_expires_at", BigInteger),
    UniqueConstraint("service", "commit_sha", "kind"),
    Index("ix_commit_statuses_forge_send_at", "forge", "send_at"),
    Index("ix_commit_statuses_updated_at", "updated_at"),
    sqlite_autoincrement=True,
)

event_cursors: Final = Table(
    "event_cursors",
    metadata,
    # How far a loop that goes through the events has come, all control processes together.
    Column("reader", String(32), primary_key=True),
    Column("event_id", BigInteger, nullable=False),
)
