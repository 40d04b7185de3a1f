"""The queue's rules: lanes, bounds, backoff; small indexes of what lives; what is left of builds that are forgotten."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None

_LIVE = "status IN ('QUEUED', 'RUNNING')"
_CLOCK = {
    "sqlite": "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)",
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
}


def upgrade() -> None:
    _columns()
    _index_where("ix_jobs_queued", ["place", "id"], "status = 'QUEUED'")
    _index_where("ix_jobs_running", ["service"], "status = 'RUNNING'")
    _index_where("ix_jobs_finished", ["finished_at"], "finished_at IS NOT NULL")
    op.create_index("ix_deployments_build_id", "deployments", ["build_id"])
    _days()
    _loosen()
    _view()
    if op.get_bind().dialect.name == "postgresql":
        # Room in each page for the next heartbeat's version of a row, and a vacuum long before a fifth of history is dead.
        op.execute("ALTER TABLE jobs SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01)")


def _columns() -> None:
    op.add_column("jobs", sa.Column("lane", sa.String(length=16), server_default="ordinary", nullable=False))
    op.add_column("jobs", sa.Column("place", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("jobs", sa.Column("not_before", sa.BigInteger()))
    op.add_column("jobs", sa.Column("started_at", sa.BigInteger()))
    op.execute("UPDATE jobs SET place = created_at, started_at = claimed_at")


def _index_where(name: str, columns: list[str], condition: str) -> None:
    op.create_index(name, "jobs", columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))


def _days() -> None:
    op.create_table(
        "build_days",
        sa.Column("service", sa.String(length=63), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("builds", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("claimed", sa.Integer(), nullable=False),
        sa.Column("wait_ms", sa.BigInteger(), nullable=False),
        sa.Column("wait_ms_max", sa.BigInteger(), nullable=False),
        sa.Column("build_ms", sa.BigInteger(), nullable=False),
        sa.Column("build_ms_max", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("service", "day", name=op.f("pk_build_days")),
    )


def _loosen() -> None:
    with op.batch_alter_table("artifacts") as artifacts:
        artifacts.drop_constraint("fk_artifacts_build_id_jobs", type_="foreignkey")


def _view() -> None:
    """What lives, for people and their monitoring: the newest heartbeat, and how long ago that was by this database's clock."""
    clock = _CLOCK[op.get_bind().dialect.name]
    op.execute(
        "CREATE VIEW jobs_live AS SELECT id, name, service, lane, status, attempt, worker, created_at, queued_at, not_before, "
        f"claimed_at, last_heartbeat, {clock} - last_heartbeat AS silent_ms FROM jobs WHERE {_LIVE}"
    )
