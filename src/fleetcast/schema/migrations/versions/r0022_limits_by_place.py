"""How many machines of a zone, of a rack, and in a rollback may be down at a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("services", "deployments"):
        for column in ("max_unavailable_rollback", "max_unavailable_zone", "max_unavailable_rack"):
            op.add_column(table, sa.Column(column, sa.Integer()))
