"""Freezes of the company, approvals, and who triggered a deployment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("by_whom", sa.String(length=63)))
    op.add_column("rollouts", sa.Column("override_freeze", sa.Text()))
    op.add_column("rollouts", sa.Column("held_at", sa.BigInteger()))
    op.create_table(
        "approvals",
        sa.Column("deployment", sa.String(length=32), nullable=False),
        sa.Column("wave", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("by_whom", sa.String(length=63), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["deployment"], ["deployments.id"], name=op.f("fk_approvals_deployment_deployments")),
        sa.PrimaryKeyConstraint("deployment", "wave", "by_whom", name=op.f("pk_approvals")),
    )
    op.create_table(
        "freezes",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("freeze", sa.Text(), nullable=False),
        sa.Column("services", sa.Text(), nullable=False),
        sa.Column("by_whom", sa.String(length=63), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_freezes")),
    )
