"""Rollbacks that somebody made at a region, past control."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "region_rollbacks",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("region", sa.String(length=63), nullable=False),
        sa.Column("service", sa.String(length=63), nullable=False),
        sa.Column("environment", sa.String(length=63), nullable=False),
        sa.Column("rollback", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("over_at", sa.BigInteger(), nullable=True),
        sa.Column("over_why", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["region"], ["regions.name"], name=op.f("fk_region_rollbacks_region_regions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_region_rollbacks")),
    )
    op.create_index(op.f("ix_region_rollbacks_service_environment"), "region_rollbacks", ["service", "environment"])
