"""Regions that are drained because they say nothing, copies that are given up, and those that people want attempted now."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("regions", sa.Column("silent_at", sa.BigInteger()))
    op.add_column("regions", sa.Column("returned_at", sa.BigInteger()))
    op.add_column("copies", sa.Column("given_up", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "copy_demands",
        sa.Column("region", sa.String(63), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["region"], ["regions.name"], name=op.f("fk_copy_demands_region_regions")),
        sa.PrimaryKeyConstraint("region", "digest", name=op.f("pk_copy_demands")),
    )
