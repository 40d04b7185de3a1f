"""Services with several environments, and what was promoted from one to the next."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "environments",
        sa.Column("service", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("max_unavailable", sa.Integer()),
        sa.Column("max_unavailable_rollback", sa.Integer()),
        sa.Column("max_unavailable_zone", sa.Integer()),
        sa.Column("max_unavailable_rack", sa.Integer()),
        sa.Column("plan", sa.Text(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("requires", sa.String(length=63)),
        sa.Column("takes_pushes", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["service"], ["services.name"], name=op.f("fk_environments_service_services")),
        sa.PrimaryKeyConstraint("service", "name", name=op.f("pk_environments")),
    )
    op.add_column("services", sa.Column("requires", sa.String(length=63)))
    op.add_column("rollouts", sa.Column("promoted_from", sa.String(length=63)))
    op.add_column("rollouts", sa.Column("override", sa.Text()))
