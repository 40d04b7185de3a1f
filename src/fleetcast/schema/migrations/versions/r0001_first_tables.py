"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _jobs()
    _artifacts()
    _fleet()
    _replication()
    _goals()
    _deployments()
    _rollups()


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_heartbeat", sa.BigInteger()),
        sa.Column("commit_sha", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("blob", sa.Text(), server_default="", nullable=False),
        sa.Column("service", sa.String(length=63), nullable=False),
        sa.Column("build_number", sa.Integer(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("trunk", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("token", sa.String(length=128)),
        sa.Column("worker", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("queued_at", sa.BigInteger(), nullable=False),
        sa.Column("claimed_at", sa.BigInteger()),
        sa.Column("finished_at", sa.BigInteger()),
        sa.CheckConstraint("status IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED')", name=op.f("ck_jobs_status_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_status_created_at", "jobs", ["status", "created_at"])
    op.create_index(
        "uq_jobs_name_live",
        "jobs",
        ["name"],
        unique=True,
        sqlite_where=sa.text("status IN ('QUEUED', 'RUNNING')"),
        postgresql_where=sa.text("status IN ('QUEUED', 'RUNNING')"),
    )


def _artifacts() -> None:
    op.create_table(
        "build_log",
        sa.Column("build_id", _ID, nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["build_id"], ["jobs.id"], name=op.f("fk_build_log_build_id_jobs")),
        sa.PrimaryKeyConstraint("build_id", "start", name=op.f("pk_build_log")),
    )
    op.create_table(
        "artifacts",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("service", sa.String(length=63), nullable=False),
        sa.Column("commit_sha", sa.String(length=64), nullable=False),
        sa.Column("build_number", sa.Integer(), nullable=False),
        sa.Column("build_id", _ID, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("trunk", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("root", sa.String(length=64), nullable=False),
        sa.Column("envelope", sa.Text(), nullable=False),
        sa.Column("manifest_size", sa.BigInteger(), nullable=False),
        sa.Column("content_size", sa.BigInteger(), nullable=False),
        sa.Column("manifest_blob", sa.Text(), nullable=False),
        sa.Column("content_blob", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["build_id"], ["jobs.id"], name=op.f("fk_artifacts_build_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifacts")),
        sa.UniqueConstraint("build_id", name=op.f("uq_artifacts_build_id")),
        sa.UniqueConstraint("name", name=op.f("uq_artifacts_name")),
        sa.UniqueConstraint("root", name=op.f("uq_artifacts_root")),
    )
    op.create_index("ix_artifacts_digest", "artifacts", ["digest"])
    op.create_index("ix_artifacts_service_commit_sha", "artifacts", ["service", "commit_sha"])


def _fleet() -> None:
    op.create_table(
        "regions",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("data_url", sa.Text(), nullable=False),
        sa.Column("data_key", sa.Text(), nullable=False),
        sa.Column("drained", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("hello_at", sa.BigInteger(), nullable=False),
        sa.Column("last_report_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_regions")),
    )
    op.create_table(
        "machines",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("region", sa.String(length=63), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("rack", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["region"], ["regions.name"], name=op.f("fk_machines_region_regions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_machines")),
    )
    op.create_index("ix_machines_region", "machines", ["region"])
    op.create_table(
        "services",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("trunk", sa.Text(), nullable=False),
        sa.Column("environment", sa.String(length=63), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("max_unavailable", sa.Integer()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_services")),
    )


def _replication() -> None:
    op.create_table(
        "releases",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("deployable", sa.Boolean(), nullable=False),
        sa.Column("completed_at", sa.BigInteger()),
        sa.Column("waiting_for", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_releases")),
    )
    op.create_table(
        "replicas",
        sa.Column("bucket", sa.String(length=63), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("status IN ('PENDING', 'COMPLETE', 'FAILED')", name=op.f("ck_replicas_status_known")),
        sa.PrimaryKeyConstraint("bucket", "digest", name=op.f("pk_replicas")),
    )
    op.create_index("ix_replicas_digest", "replicas", ["digest"])
    op.create_table(
        "copies",
        sa.Column("region", sa.String(length=63), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("bytes_copied", sa.BigInteger(), nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["region"], ["regions.name"], name=op.f("fk_copies_region_regions")),
        sa.PrimaryKeyConstraint("region", "digest", name=op.f("pk_copies")),
    )


def _goals() -> None:
    op.create_table(
        "goals",
        sa.Column("service", sa.String(length=63), nullable=False),
        sa.Column("environment", sa.String(length=63), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("goal_sequence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("deployment", sa.String(length=32)),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("counter", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("value", sa.Text()),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("service", "environment", name=op.f("pk_goals")),
    )
    op.create_index("ix_goals_published", "goals", ["published"])


def _deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("service", sa.String(length=63), nullable=False),
        sa.Column("environment", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("commit_sha", sa.String(length=64), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("max_unavailable", sa.Integer()),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("build_id", _ID),
        sa.Column("artifact_id", _ID),
        sa.Column("back_to_sequence", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("built_at", sa.BigInteger()),
        sa.Column("replicated_at", sa.BigInteger()),
        sa.Column("goal_at", sa.BigInteger()),
        sa.Column("distributed_at", sa.BigInteger()),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("epoch", sa.BigInteger()),
        sa.Column("counter", sa.BigInteger()),
        sa.Column("rolled_back_by", sa.String(length=32)),
        sa.Column("token", sa.String(length=128)),
        sa.Column("claim_expires_at", sa.BigInteger()),
        sa.Column("machines_total", sa.Integer()),
        sa.Column("machines_reporting", sa.Integer()),
        sa.Column("machines_fetched", sa.Integer()),
        sa.Column("machines_active", sa.Integer()),
        sa.Column("machines_failed", sa.Integer()),
        sa.Column("origin_bytes", sa.BigInteger()),
        sa.Column("peer_bytes", sa.BigInteger()),
        sa.Column("local_bytes", sa.BigInteger()),
        sa.CheckConstraint("kind IN ('deploy', 'rollback')", name=op.f("ck_deployments_kind_known")),
        sa.CheckConstraint(
            "state IN ('BUILDING', 'REPLICATING', 'DISTRIBUTING', 'SUCCEEDED', 'FAILED', "
            "'SUPERSEDED', 'ABORTED', 'ROLLED_BACK')",
            name=op.f("ck_deployments_state_known"),
        ),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifacts.id"], name=op.f("fk_deployments_artifact_id_artifacts")),
        sa.ForeignKeyConstraint(["build_id"], ["jobs.id"], name=op.f("fk_deployments_build_id_jobs")),
        sa.ForeignKeyConstraint(["rolled_back_by"], ["deployments.id"], name=op.f("fk_deployments_rolled_back_by_deployments")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
        sa.UniqueConstraint("service", "environment", "sequence", name=op.f("uq_deployments_service_environment_sequence")),
    )
    op.create_index("ix_deployments_state", "deployments", ["state"])


def _rollups() -> None:
    op.create_table(
        "rollups",
        sa.Column("deployment", sa.String(length=32), nullable=False),
        sa.Column("region", sa.String(length=63), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("selected", sa.Integer(), nullable=False),
        sa.Column("reporting", sa.Integer(), nullable=False),
        sa.Column("fetched", sa.Integer(), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("origin_bytes", sa.BigInteger(), nullable=False),
        sa.Column("peer_bytes", sa.BigInteger(), nullable=False),
        sa.Column("local_bytes", sa.BigInteger(), nullable=False),
        sa.Column("last_active_at", sa.BigInteger()),
        sa.Column("failures", sa.Text(), nullable=False),
        sa.Column("waiting", sa.Text(), nullable=False),
        sa.Column("reported_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["deployment"], ["deployments.id"], name=op.f("fk_rollups_deployment_deployments")),
        sa.ForeignKeyConstraint(["region"], ["regions.name"], name=op.f("fk_rollups_region_regions")),
        sa.PrimaryKeyConstraint("deployment", "region", name=op.f("pk_rollups")),
    )
