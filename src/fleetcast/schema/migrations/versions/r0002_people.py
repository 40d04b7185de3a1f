"""What people need beside deploying: triggers safe to repeat, events, per-machine pictures, labels, services that go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _triggers()
    _events()
    _pictures()
    _machines()
    _pages()
    op.add_column("jobs", sa.Column("for_itself", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("services", sa.Column("removed_at", sa.BigInteger()))
    op.add_column("regions", sa.Column("alarms", sa.Text(), server_default="[]", nullable=False))


def _triggers() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("operation", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("operation", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("service", sa.String(length=63), server_default="", nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=32), server_default="", nullable=False),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_service_id", "events", ["service", "id"])


def _pictures() -> None:
    op.add_column("rollups", sa.Column("phases", sa.Text(), server_default="{}", nullable=False))
    op.add_column("rollups", sa.Column("machines", sa.Text(), server_default="[]", nullable=False))


def _machines() -> None:
    op.create_table(
        "machine_labels",
        sa.Column("machine", sa.String(length=63), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("machine", name=op.f("pk_machine_labels")),
    )
    op.create_index("ix_machine_labels_published", "machine_labels", ["published"])
    op.create_table(
        "machine_questions",
        sa.Column("machine", sa.String(length=63), nullable=False),
        sa.Column("region", sa.String(length=63), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger()),
        sa.Column("answer", sa.Text()),
        sa.PrimaryKeyConstraint("machine", name=op.f("pk_machine_questions")),
    )
    op.create_index("ix_machine_questions_region", "machine_questions", ["region"])


def _pages() -> None:
    op.create_index("ix_machines_region_id", "machines", ["region", "id"])
    newest = ["created_at", "sequence", "id"]
    op.create_index("ix_deployments_created_at_sequence_id", "deployments", newest)
    op.create_index("ix_deployments_service_created_at_sequence_id", "deployments", ["service", *newest])
