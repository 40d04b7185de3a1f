"""What comes from, and goes to, the servers that have the repositories: pushes, webhooks, commit statuses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("services", sa.Column("on_push", sa.String(length=16), server_default="nothing", nullable=False))
    op.add_column("services", sa.Column("poll_every_s", sa.Integer()))
    _trunk_heads()
    _hook_deliveries()
    _commit_statuses()
    op.create_table(
        "event_cursors",
        sa.Column("reader", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("reader", name=op.f("pk_event_cursors")),
    )


def _trunk_heads() -> None:
    op.create_table(
        "trunk_heads",
        sa.Column("service", sa.String(length=63), nullable=False),
        sa.Column("head", sa.String(length=64)),
        sa.Column("passed", sa.Text(), server_default="[]", nullable=False),
        sa.Column("pushed_at", sa.BigInteger()),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("look_at", sa.BigInteger()),
        sa.Column("token", sa.String(length=64)),
        sa.Column("claim_expires_at", sa.BigInteger()),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["service"], ["services.name"], name=op.f("fk_trunk_heads_service_services")),
        sa.PrimaryKeyConstraint("service", name=op.f("pk_trunk_heads")),
    )
    op.create_index("ix_trunk_heads_look_at", "trunk_heads", ["look_at"])


def _hook_deliveries() -> None:
    op.create_table(
        "hook_deliveries",
        sa.Column("forge", sa.String(length=16), nullable=False),
        sa.Column("delivery", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("forge", "delivery", name=op.f("pk_hook_deliveries")),
    )
    op.create_index("ix_hook_deliveries_forge_digest", "hook_deliveries", ["forge", "digest"])
    op.create_index("ix_hook_deliveries_received_at", "hook_deliveries", ["received_at"])


def _commit_statuses() -> None:
    op.create_table(
        "commit_statuses",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("forge", sa.String(length=16), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("service", sa.String(length=63), nullable=False),
        sa.Column("commit_sha", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("told_event_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("send_at", sa.BigInteger()),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("token", sa.String(length=64)),
        sa.Column("claim_expires_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commit_statuses")),
        sa.UniqueConstraint("service", "commit_sha", "kind", name=op.f("uq_commit_statuses_service_commit_sha_kind")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_commit_statuses_forge_send_at", "commit_statuses", ["forge", "send_at"])
    op.create_index("ix_commit_statuses_updated_at", "commit_statuses", ["updated_at"])
