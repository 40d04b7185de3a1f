"""The result of a demo: figures for programs, a table for people (pure; the meanings are in ``docs/``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleetcast.cli.output import seconds, short, size, table
from fleetcast.model.deployment import Deployment


@dataclass(frozen=True, slots=True)
class DeploymentFigures:
    """One deployment. Times in seconds, ``None`` where it did not get so far; bytes summed over machines."""

    service: str
    commit: str
    kind: str
    """``deploy`` or ``rollback``."""
    outcome: str
    build_s: float | None
    replicate_s: float | None
    distribute_s: float | None
    machines_active: int
    machines_total: int
    artifact_bytes: int | None
    origin_bytes: int
    peer_bytes: int
    local_bytes: int


@dataclass(frozen=True, slots=True)
class DemoFigures:
    machines: int
    regions: int
    deployments: tuple[DeploymentFigures, ...]


def figures_of(deployment: Deployment) -> DeploymentFigures:
    """What is reported of a deployment."""
    progress = deployment.progress
    return DeploymentFigures(
        service=deployment.service,
        commit=deployment.commit_sha,
        kind=deployment.kind,
        outcome=deployment.state,
        build_s=deployment.build_s,
        replicate_s=deployment.replicate_s,
        distribute_s=deployment.distribute_s,
        machines_active=progress.active,
        machines_total=progress.total,
        artifact_bytes=deployment.artifact_bytes,
        origin_bytes=progress.bytes.origin,
        peer_bytes=progress.bytes.peer,
        local_bytes=progress.bytes.local,
    )


def figures_table(deployments: Sequence[DeploymentFigures]) -> str:
    """One line a deployment: what came of it, where its time went, where its bytes came from."""
    header = ["", "COMMIT", "OUTCOME", "BUILD", "COPY", "DISTRIBUTE", "ACTIVE", "SIZE", "ORIGIN", "PEERS", "LOCAL"]
    rows = [
        [
            item.kind,
            short(item.commit),
            item.outcome,
            *map(seconds, (item.build_s, item.replicate_s, item.distribute_s)),
            f"{item.machines_active}/{item.machines_total}",
            *map(size, (item.artifact_bytes, item.origin_bytes, item.peer_bytes, item.local_bytes)),
        ]
        for item in deployments
    ]
    return table(header, rows)
