"""Pinned artifacts are found by their service, at every write of its goal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    where = sa.text("pinned_at IS NOT NULL")
    op.create_index("ix_artifacts_pinned", "artifacts", ["service"], sqlite_where=where, postgresql_where=where)
