"""Regions that a deployment goes on without, and those that lack a release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0028"  # numbers are given when work begins, the order is that of landing
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("skipped", sa.Text()))
    op.add_column("releases", sa.Column("lacking", sa.Text()))
