"""Regions that a deployment goes on without, and those that lack a release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("skipped", sa.Text()))
    op.add_column("releases", sa.Column("lacking", sa.Text()))
