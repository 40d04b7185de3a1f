"""What was collected of which artifact, and what people want kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("artifacts", sa.Column("pinned_at", sa.BigInteger()))
    _collection("artifacts")
    op.add_column("artifacts", sa.Column("collected_why", sa.Text(), server_default="", nullable=False))
    _index_where("ix_artifacts_kept", "artifacts", "collection <> 'COLLECTED'")
    _collection("releases")
    _index_where("ix_releases_collecting", "releases", "collection = 'COLLECTING'")
    op.add_column("replicas", sa.Column("published_at", sa.BigInteger()))
    op.create_index("ix_deployments_artifact_id", "deployments", ["artifact_id"])
    op.create_table(
        "deletions",
        sa.Column("region", sa.String(length=63), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("granted_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["region"], ["regions.name"], name=op.f("fk_deletions_region_regions")),
        sa.PrimaryKeyConstraint("region", "digest", name=op.f("pk_deletions")),
    )


def _collection(table: str) -> None:
    op.add_column(table, sa.Column("collection", sa.String(length=16), server_default="KEPT", nullable=False))
    op.add_column(table, sa.Column("collected_at", sa.BigInteger()))


def _index_where(name: str, table: str, condition: str) -> None:
    op.create_index(name, table, ["digest"], sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))
