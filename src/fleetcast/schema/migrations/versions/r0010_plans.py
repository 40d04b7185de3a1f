"""How deployments are rolled out: what a service wants, and how far each deployment is with its waves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("services", sa.Column("plan", sa.Text(), server_default=sa.text("'{}'"), nullable=False))
    op.add_column("rollups", sa.Column("cohort", sa.Text()))
    op.create_table(
        "rollouts",
        sa.Column("deployment", sa.String(length=32), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text()),
        sa.Column("wave", sa.Integer()),
        sa.Column("wave_at", sa.BigInteger()),
        sa.Column("wave_epoch", sa.BigInteger()),
        sa.Column("wave_counter", sa.BigInteger()),
        sa.Column("wave_expected", sa.Text()),
        sa.Column("wave_silent", sa.Text()),
        sa.Column("healthy_at", sa.BigInteger()),
        sa.Column("promoted_wave", sa.Integer()),
        sa.Column("paused_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["deployment"], ["deployments.id"], name=op.f("fk_rollouts_deployment_deployments")),
        sa.PrimaryKeyConstraint("deployment", name=op.f("pk_rollouts")),
    )
