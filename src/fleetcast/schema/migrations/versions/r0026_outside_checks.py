"""What outside checks say of the waves of deployments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outside_checks",
        sa.Column("deployment", sa.String(length=32), nullable=False),
        sa.Column("wave", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ask_at", sa.BigInteger()),
        sa.Column("token", sa.String(length=64)),
        sa.Column("claim_expires_at", sa.BigInteger()),
        sa.Column("outcome", sa.String(length=16)),
        sa.Column("figures", sa.Text(), server_default="", nullable=False),
        sa.Column("output", sa.Text(), server_default="", nullable=False),
        sa.Column("answered_at", sa.BigInteger()),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_passed_since", sa.BigInteger()),
        sa.ForeignKeyConstraint(["deployment"], ["deployments.id"], name=op.f("fk_outside_checks_deployment_deployments")),
        sa.PrimaryKeyConstraint("deployment", "wave", "number", name=op.f("pk_outside_checks")),
    )
