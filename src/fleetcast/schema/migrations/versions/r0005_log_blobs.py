"""Logs of ended builds are blobs in the main store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0006"  # numbers are given when work begins, the order is that of landing
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "build_log_blobs",
        sa.Column("build_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("build_id", name=op.f("pk_build_log_blobs")),
    )
