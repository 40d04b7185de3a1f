"""Every table. Times are BIGINT, the database's clock in UTC milliseconds; byte counts are BIGINT.

What lasts is here: intent (services, deployments, goals), history (jobs, artifacts, releases) and the inventory. The global
KV is derived from it. ``replicas`` may live in a database of its own, so nothing refers to it and it refers to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from fleetcast.model.build import BuildStatus, Lane, Recipe
from fleetcast.model.deployment import DeploymentKind, DeploymentState
from fleetcast.model.ids import RegionName
from fleetcast.model.machine import Selector
from fleetcast.model.plan import Policy
from fleetcast.model.replication import ReplicaStatus
from fleetcast.model.report import CohortCounts, MachineProgress, NamedFailure
from fleetcast.model.retention import Collection
from fleetcast.schema.columns import AsJson, Id, limit_columns

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, words: type[BuildStatus | DeploymentState | DeploymentKind | ReplicaStatus]) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def _index_where(name: str, condition: str, *columns: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=text(condition), postgresql_where=text(condition))


services: Final = Table(
    "services",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("repository", Text, nullable=False),
    Column("trunk", Text, nullable=False),
    Column("environment", String(63), nullable=False),
    Column("selector", AsJson(Selector), nullable=False),
    Column("recipe", AsJson(Recipe), nullable=False),
    *limit_columns(),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # Its tombstone is the goal; the row keeps the history readable.
    Column("removed_at", BigInteger),
    # What a new head of the trunk triggers, and how often control looks for one; NULL: it does not.
    Column("on_push", String(16), nullable=False, server_default="nothing"),
    Column("poll_every_s", Integer),
    Column("plan", AsJson(Policy), nullable=False, server_default=text("'{}'")),
    Column("requires", String(63)),  # in which environment what comes to its own has succeeded before
)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("created_at", BigInteger, nullable=False),
    Column("last_heartbeat", BigInteger),
    Column("commit_sha", String(64), nullable=False),
    Column("name", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("blob", Text, nullable=False, server_default=""),
    Column("service", String(63), nullable=False),
    Column("build_number", Integer, nullable=False),
    Column("repository", Text, nullable=False),
    Column("trunk", Text, nullable=False),
    Column("recipe", AsJson(Recipe), nullable=False),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    # Void (NULL) while QUEUED. Kept after the end, so that the last call of the attempt that ended it may be repeated.
    Column("token", String(128)),
    Column("worker", Text, nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("queued_at", BigInteger, nullable=False),
    Column("claimed_at", BigInteger),
    Column("finished_at", BigInteger),
    # Ordered without a deployment: it goes on when those that wait for it are aborted.
    Column("for_itself", Boolean, nullable=False, server_default=false()),
    Column("lane", String(16), nullable=False, server_default=Lane.ORDINARY),
    # In which builds are claimed, with the id: created_at, or BUILD_URGENT_AHEAD_S before it.
    Column("place", BigInteger, nullable=False, server_default=text("0")),
    # Only of a build that is QUEUED again; NULL: at once.
    Column("not_before", BigInteger),
    # Of the last claim, for figures: where clocks jump, claimed_at is stamped anew and this is not.
    Column("started_at", BigInteger),
    _one_of("status", BuildStatus),
    Index("ix_jobs_status_created_at", "status", "created_at"),
    # Live rows have small indexes of their own, so that a claim costs the same whatever has ended before. No index has
    # last_heartbeat: on PostgreSQL a heartbeat touches the row's page alone.
    _index_where("ix_jobs_queued", "status = 'QUEUED'", "place", "id"),
    _index_where("ix_jobs_running", "status = 'RUNNING'", "service"),
    _index_where("ix_jobs_finished", "finished_at IS NOT NULL", "finished_at"),
    # One build of a name at a time: a second trigger shares it.
    _index_where("uq_jobs_name_live", "status IN ('QUEUED', 'RUNNING')", "name", unique=True),
    sqlite_autoincrement=True,
    postgresql_with={"fillfactor": 70},
)

build_days: Final = Table(
    "build_days",
    metadata,
    # What is left of builds that were forgotten: sums by service, day of the end (days since 1970, UTC) and outcome.
    Column("service", String(63), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("builds", Integer, nullable=False),
    Column("succeeded", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Of those that were claimed; the build's time is that of its last attempt.
    Column("claimed", Integer, nullable=False),
    Column("wait_ms", BigInteger, nullable=False),
    Column("wait_ms_max", BigInteger, nullable=False),
    Column("build_ms", BigInteger, nullable=False),
    Column("build_ms_max", BigInteger, nullable=False),
)

build_log: Final = Table(
    "build_log",
    metadata,
    Column("build_id", Id, ForeignKey("jobs.id"), primary_key=True),
    # An attempt's log starts where the one before it ended: ``start`` counts UTF-8 bytes over all attempts.
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
)

build_log_blobs: Final = Table(
    "build_log_blobs",
    metadata,
    # Of a build that has ended: its log is a blob in the main store. No foreign key: the blob goes after the build.
    Column("build_id", Id, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
)

artifacts: Final = Table(
    "artifacts",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("service", String(63), nullable=False),
    Column("commit_sha", String(64), nullable=False),
    Column("build_number", Integer, nullable=False),
    # No foreign key: builds are forgotten before what they made is.
    Column("build_id", Id, nullable=False, unique=True),
    Column("attempt", Integer, nullable=False),
    # The branch the commit was seen to be on; empty: nobody looked.
    Column("trunk", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("root", String(64), nullable=False, unique=True),
    Column("envelope", Text, nullable=False),
    Column("manifest_size", BigInteger, nullable=False),
    Column("content_size", BigInteger, nullable=False),
    Column("manifest_blob", Text, nullable=False),
    Column("content_blob", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # When its record was written to the global KV: from then on regions copy it. NULL again once their copies are collected.
    Column("published_at", BigInteger),
    # A person wants it kept.
    Column("pinned_at", BigInteger),
    # Of its blobs in the main store: they are deleted while it is COLLECTING, and never before.
    Column("collection", String(16), nullable=False, server_default=Collection.KEPT),
    Column("collected_at", BigInteger),
    Column("collected_why", Text, nullable=False, server_default=""),
    Index("ix_artifacts_service_commit_sha", "service", "commit_sha"),
    Index("ix_artifacts_digest", "digest"),
    _index_where("ix_artifacts_kept", "collection <> 'COLLECTED'", "digest"),
    _index_where("ix_artifacts_pinned", "pinned_at IS NOT NULL", "service"),
)

releases: Final = Table(
    "releases",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("deployable", Boolean, nullable=False),
    # When it last became complete in every bucket that counts; NULL: it never was.
    Column("completed_at", BigInteger),
    Column("waiting_for", Text, nullable=False, server_default=""),
    # Regions that count and whose buckets lack it; NULL: it is deployable, or an older version has written it.
    Column("lacking", AsJson(tuple[RegionName, ...])),
    # Of its copies in the regions: while it is COLLECTING its records leave the global KV, and nobody publishes it.
    Column("collection", String(16), nullable=False, server_default=Collection.KEPT),
    Column("collected_at", BigInteger),
    _index_where("ix_releases_collecting", "collection = 'COLLECTING'", "digest"),
)

replicas: Final = Table(
    "replicas",
    metadata,
    Column("bucket", String(63), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("updated_at", BigInteger, nullable=False),
    Column("checked_at", BigInteger, nullable=False),
    # Which publication of the artifact it was looked for: what was seen before its copies were collected says nothing now.
    Column("published_at", BigInteger),
    _one_of("status", ReplicaStatus),
    Index("ix_replicas_digest", "digest"),
)

copies: Final = Table(
    "copies",
    metadata,
    # A region's own account of its copies. Control believes the bucket; this only says how far and why not.
    Column("region", String(63), ForeignKey("regions.name"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("bytes_copied", BigInteger, nullable=False),
    Column("bytes_total", BigInteger, nullable=False),
    Column("error", Text, nullable=False, server_default=""),
    Column("updated_at", BigInteger, nullable=False),
    # Its attempts fail for longer than the region's settings allow.
    Column("given_up", Boolean, nullable=False, server_default=false()),
)

regions: Final = Table(
    "regions",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("data_url", Text, nullable=False),
    # A secret: signs grants on the region's data port.
    Column("data_key", Text, nullable=False),
    Column("drained", Boolean, nullable=False, server_default=false()),
    Column("hello_at", BigInteger, nullable=False),
    Column("last_report_at", BigInteger),
    Column("alarms", AsJson(tuple[str, ...]), nullable=False, server_default="[]"),
    # Drained because it said nothing, or is new and has to catch up, since when; NULL: it is not drained, or by a person.
    Column("silent_at", BigInteger),
    # When it said something again: it counts once it has what was a release by then.
    Column("returned_at", BigInteger),
)

machines: Final = Table(
    "machines",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("region", String(63), ForeignKey("regions.name"), nullable=False),
    Column("zone", Text, nullable=False),
    Column("rack", Text, nullable=False),
    Column("labels", AsJson(Mapping[str, str]), nullable=False),
    Column("joined_at", BigInteger, nullable=False),
    # Written at most once in half of MACHINE_SILENCE_S_MAX: good for naming who is silent, not for more.
    Column("last_seen_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),
    Index("ix_machines_region", "region"),
    # The order in which people page through them.
    Index("ix_machines_region_id", "region", "id"),
)

goals: Final = Table(
    "goals",
    metadata,
    Column("service", String(63), primary_key=True),
    Column("environment", String(63), primary_key=True),
    # The newest trigger's number, whether or not it has got anywhere.
    Column("sequence", BigInteger, nullable=False),
    # Of the deployment that the goal names; 0 and NULL until one was written.
    Column("goal_sequence", BigInteger, nullable=False, server_default=text("0")),
    Column("deployment", String(32)),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    Column("counter", BigInteger, nullable=False, server_default=text("0")),
    # The goal as JSON, byte for byte as it goes into the KV.
    Column("value", Text),
    Column("expires_at", BigInteger),
    Column("published", Boolean, nullable=False),
    Index("ix_goals_published", "published"),
)

deployments: Final = Table(
    "deployments",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("service", String(63), nullable=False),
    Column("environment", String(63), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("commit_sha", String(64), nullable=False),
    Column("selector", AsJson(Selector), nullable=False),
    *limit_columns(),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("build_id", Id, ForeignKey("jobs.id")),
    Column("artifact_id", Id, ForeignKey("artifacts.id")),
    # Only of a rollback: the sequence of the deployment whose release it goes back to.
    Column("back_to_sequence", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("built_at", BigInteger),
    Column("replicated_at", BigInteger),
    Column("goal_at", BigInteger),
    Column("distributed_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("epoch", BigInteger),
    Column("counter", BigInteger),
    Column("rolled_back_by", String(32), ForeignKey("deployments.id")),
    # Law 1: who advances it, until when. Void (NULL) once it has ended.
    Column("token", String(128)),
    Column("claim_expires_at", BigInteger),
    # Frozen when it ends; until then the roll-ups are asked.
    Column("machines_total", Integer),
    Column("machines_reporting", Integer),
    Column("machines_fetched", Integer),
    Column("machines_active", Integer),
    Column("machines_failed", Integer),
    Column("origin_bytes", BigInteger),
    Column("peer_bytes", BigInteger),
    Column("local_bytes", BigInteger),
    _one_of("kind", DeploymentKind),
    _one_of("state", DeploymentState),
    UniqueConstraint("service", "environment", "sequence"),
    Index("ix_deployments_state", "state"),
    # Of a build: who waits for it; and it is forgotten without a look at every deployment.
    Index("ix_deployments_build_id", "build_id"),
    # Of an artifact: when it was used last.
    Index("ix_deployments_artifact_id", "artifact_id"),
    # The order in which people page through them, newest first.
    Index("ix_deployments_created_at_sequence_id", "created_at", "sequence", "id"),
    Index("ix_deployments_service_created_at_sequence_id", "service", "created_at", "sequence", "id"),
)

rollups: Final = Table(
    "rollups",
    metadata,
    Column("deployment", String(32), ForeignKey("deployments.id"), primary_key=True),
    Column("region", String(63), ForeignKey("regions.name"), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("selected", Integer, nullable=False),
    Column("reporting", Integer, nullable=False),
    Column("fetched", Integer, nullable=False),
    Column("active", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("origin_bytes", BigInteger, nullable=False),
    Column("peer_bytes", BigInteger, nullable=False),
    Column("local_bytes", BigInteger, nullable=False),
    # When the last of the active machines became so, by this database's clock; NULL: none is.
    Column("last_active_at", BigInteger),
    Column("failures", AsJson(tuple[NamedFailure, ...]), nullable=False),
    Column("waiting", AsJson(tuple[NamedFailure, ...]), nullable=False),
    Column("reported_at", BigInteger, nullable=False),
    # Machines by phase, and a bounded sample of them one by one: for the live picture, nothing is decided by it.
    Column("phases", AsJson(Mapping[str, int]), nullable=False, server_default=text("'{}'")),
    Column("machines", AsJson(tuple[MachineProgress, ...]), nullable=False, server_default=text("'[]'")),
    # Of the machines that the goal's waves have let in; NULL from a region of an older version.
    Column("cohort", AsJson(CohortCounts)),
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    # A trigger that is repeated with its key is answered with what the first one made.
    Column("operation", String(32), primary_key=True),
    Column("key", String(255), primary_key=True),
    # Of the request: the same key for another one is refused.
    Column("fingerprint", String(64), nullable=False),
    # The deployment or build that it made.
    Column("subject", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

events: Final = Table(
    "events",
    metadata,
    # Written in the transaction that makes it happen; schema/events.py keeps the order of ids that of commits.
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("service", String(63), nullable=False, server_default=""),
    # The deployment, build, region or machine it is about.
    Column("subject", String(255), nullable=False),
    Column("state", String(32), nullable=False, server_default=""),
    Column("text", Text, nullable=False, server_default=""),
    Index("ix_events_service_id", "service", "id"),
    sqlite_autoincrement=True,
)
