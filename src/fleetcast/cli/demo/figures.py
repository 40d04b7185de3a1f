"""The result of a demo: figures for programs, a table for people (pure; the meanings are in ``docs/``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fleetcast.cli.output import seconds, short, size, table
from fleetcast.cli.picture.columns import Column
from fleetcast.cli.picture.columns import table as fitted
from fleetcast.cli.picture.text import amount, plain
from fleetcast.model.deployment import Deployment

_COMMIT_CHARS: Final = 7


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


def figures_table(deployments: Sequence[DeploymentFigures], width: int | None = None) -> str:
    """One line a deployment: what came of it, where its time went, where its bytes came from.

    ``width``: of the terminal, in columns. Where it does not suffice, figures are rounded and what matters least is left out.
    """
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
    text = table(header, rows)
    if width is None or max(map(len, text.splitlines())) <= width:
        return text
    return "\n".join(plain(line) for line in fitted(_narrow(deployments), None, len(deployments), width, ""))


def _narrow(deployments: Sequence[DeploymentFigures]) -> list[Column]:
    def times(title: str, values: Sequence[float | None]) -> Column:
        return Column(title, [seconds(value) for value in values])

    def sizes(title: str, values: Sequence[int | None], rank: int = 0) -> Column:
        return Column(title, ["-" if value is None else amount(value) for value in values], rank)

    return [
        Column("", [item.kind for item in deployments], right=False),
        Column("COMMIT", [item.commit[:_COMMIT_CHARS] for item in deployments], 1, right=False),
        Column("OUTCOME", [item.outcome for item in deployments], right=False),
        times("BUILD", [item.build_s for item in deployments]),
        times("COPY", [item.replicate_s for item in deployments]),
        times("OUT", [item.distribute_s for item in deployments]),
        Column("ACTIVE", [f"{item.machines_active}/{item.machines_total}" for item in deployments], 2),
        sizes("SIZE", [item.artifact_bytes for item in deployments], 3),
        sizes("ORIGIN", [item.origin_bytes for item in deployments]),
        sizes("PEERS", [item.peer_bytes for item in deployments]),
        sizes("LOCAL", [item.local_bytes for item in deployments]),
    ]
