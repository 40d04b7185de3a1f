"""Rows of ``jobs`` as others see them."""

from __future__ import annotations

from fleetcast.builds.lease_rules import Lease
from fleetcast.model.build import Build, BuildStatus
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, ServiceName
from fleetcast.schema.columns import AnyRow


def build_of(row: AnyRow) -> Build:
    """A row of ``jobs`` as people see it."""
    return Build(
        id=BuildId(row.id),
        name=ArtifactName(row.name),
        service=ServiceName(row.service),
        commit_sha=CommitSha(row.commit_sha),
        status=BuildStatus(row.status),
        reason=row.reason,
        attempt=row.attempt,
        worker=row.worker,
        created_at_ms=row.created_at,
        last_heartbeat_ms=row.last_heartbeat,
        finished_at_ms=row.finished_at,
        blob=row.blob,
        lane=row.lane,
        not_before_ms=row.not_before,
    )


def lease_of(row: AnyRow) -> Lease:
    """A row of ``jobs`` as the reaper judges it."""
    return Lease(
        BuildStatus(row.status),
        row.attempt,
        row.queued_at,
        row.claimed_at or row.queued_at,
        row.last_heartbeat or row.queued_at,
    )
