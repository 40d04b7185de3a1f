"""Deployments: reading them for people, and ending them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import exists, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import (
    DEPLOYMENT_TRANSITIONS,
    ByteCounts,
    Deployment,
    DeploymentKind,
    DeploymentState,
    Progress,
)
from fleetcast.model.errors import NotFound, Stale
from fleetcast.model.event import EventKind
from fleetcast.model.generation import Generation
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, DeploymentId, Digest, ServiceName
from fleetcast.model.limits import DEPLOYMENTS_LISTED_MAX
from fleetcast.model.machine import Selector
from fleetcast.model.plan import Policy
from fleetcast.rollouts.in_line import UnderWay
from fleetcast.rollouts.progress import by_region, total
from fleetcast.schema.columns import AnyRow, AnyRows
from fleetcast.schema.environment_tables import environments
from fleetcast.schema.events import record_event
from fleetcast.schema.rollout_tables import rollouts
from fleetcast.schema.tables import artifacts, deployments, goals, services
from fleetcast.stores.database import now_ms

log = structlog.get_logger(__name__)

UNFINISHED: Final = tuple(DEPLOYMENT_TRANSITIONS)
_ARTIFACT_COLUMNS: Final = (
    artifacts.c.name.label("artifact_name"),
    artifacts.c.digest.label("artifact_digest"),
    artifacts.c.root.label("artifact_root"),
    artifacts.c.content_size.label("artifact_bytes"),
)
_ROLLOUT_COLUMNS: Final = tuple(column for column in rollouts.c if column.name != "deployment")


def deployment_rows() -> AnyRows:
    """Rows of ``deployments``, each with ``artifact_name``, ``_digest``, ``_root`` and ``_bytes``, NULL before it is built, and
    with the columns of ``rollouts``, NULL in a deployment of an older version."""
    return (
        select(deployments, *_ARTIFACT_COLUMNS, *_ROLLOUT_COLUMNS)
        .join_from(deployments, artifacts, deployments.c.artifact_id == artifacts.c.id, isouter=True)
        .join(rollouts, rollouts.c.deployment == deployments.c.id, isouter=True)
    )


async def get_deployment(reading: AsyncConnection, deployment: DeploymentId) -> Deployment:
    """Raises :class:`NotFound`."""
    row = (await reading.execute(deployment_rows().where(deployments.c.id == deployment))).one_or_none()
    if row is None:
        raise unknown(deployment)
    return await shown_deployment(reading, row)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deployments to list; ``None``: whichever."""

    service: ServiceName | None = None
    state: DeploymentState | None = None
    environment: str | None = None


async def list_deployments(
    reading: AsyncConnection, wanted: Wanted, after: tuple[int, int, str] | None, *, at_most: int
) -> tuple[Deployment, ...]:
    """Newest first, those behind the one that :func:`place_of` put at ``after``."""
    place = (deployments.c.created_at, deployments.c.sequence, deployments.c.id)
    rows = deployment_rows().order_by(*(column.desc() for column in place)).limit(at_most)
    for column, value in (
        (deployments.c.service, wanted.service),
        (deployments.c.state, wanted.state),
        (deployments.c.environment, wanted.environment),
    ):
        if value is not None:
            rows = rows.where(column == value)
    if after is not None:
        rows = rows.where(tuple_(*place) < after)
    return tuple([await shown_deployment(reading, row) for row in (await reading.execute(rows)).all()])


def place_of(deployment: Deployment) -> tuple[int, int, str]:
    """Where it stands in a list, forever: a page goes on behind its last one, whatever came or went."""
    return deployment.created_at_ms, deployment.sequence, deployment.id


async def newest_of_each(reading: AsyncConnection) -> tuple[Deployment, ...]:
    """The newest trigger's deployment of each service and environment, by service; of removed ones none."""
    # By the number that was given last, where it is counted: of a history of years only these rows are looked at.
    other = deployments.alias()
    last = (
        other.c.service == goals.c.service,
        other.c.environment == goals.c.environment,
        other.c.sequence == goals.c.sequence,
    )
    # A subquery for each, as SQLite would begin a join with the longer table.
    newest = select(select(other.c.id).where(*last).scalar_subquery()).select_from(goals)
    removed = select(services.c.name).where(services.c.removed_at.is_not(None))
    gone = (
        environments.c.service == deployments.c.service,
        environments.c.name == deployments.c.environment,
        environments.c.removed_at.is_not(None),
    )
    rows = (
        deployment_rows()
        .where(deployments.c.id.in_(newest), deployments.c.service.not_in(removed), ~exists().where(*gone))
        .order_by(deployments.c.service, deployments.c.environment)
    )
    return tuple([await shown_deployment(reading, row) for row in (await reading.execute(rows)).all()])


async def unfinished_deployments(reading: AsyncConnection) -> tuple[tuple[Deployment, Selector], ...]:
    """Those under way, each with the machines it means; the newest first, at most ``DEPLOYMENTS_LISTED_MAX``."""
    rows = deployment_rows().where(deployments.c.state.in_(UNFINISHED))
    rows = rows.order_by(deployments.c.created_at.desc(), deployments.c.id).limit(DEPLOYMENTS_LISTED_MAX)
    return tuple([(await shown_deployment(reading, row), row.selector) for row in (await reading.execute(rows)).all()])


async def unfinished_in(
    reading: AsyncConnection,
    service: ServiceName,
    environment: str,
    *,
    before: int | None = None,
    at_most: int = DEPLOYMENTS_LISTED_MAX,
) -> tuple[UnderWay, ...]:
    """Those of one service and environment that are under way, in the order of their triggers. ``before``: only those of an
    earlier trigger than this sequence number."""
    rows = select(deployments.c.id, deployments.c.state).where(
        deployments.c.service == service,
        deployments.c.environment == environment,
        deployments.c.state.in_(UNFINISHED),
    )
    if before is not None:
        rows = rows.where(deployments.c.sequence < before)
    found = await reading.execute(rows.order_by(deployments.c.sequence).limit(at_most))
    return tuple(UnderWay(DeploymentId(row.id), DeploymentState(row.state)) for row in found)


def release_of(row: AnyRow) -> ReleaseRef:
    """The release of a row of :func:`deployment_rows` that has an artifact."""
    return ReleaseRef(ArtifactName(row.artifact_name), Digest(row.artifact_digest), Digest(row.artifact_root))


async def end(tx: AsyncConnection, row: AnyRow, state: DeploymentState, reason: str) -> None:
    """End the deployment whose row was read in this transaction: its counts freeze, its token is void.

    Raises:
        Stale: it has ended, or gone on, since the row was read.
    """
    assert state.ended
    regions = await by_region(tx, DeploymentId(row.id), row.selector, row.skipped or ())
    progress = total(regions)
    last_active = [region.last_active_at_ms for region in regions if region.last_active_at_ms is not None]
    await move(
        tx,
        row,
        state,
        reason=reason,
        finished_at=now_ms(),
        distributed_at=max(last_active, default=None),
        token=None,
        claim_expires_at=None,
        machines_total=progress.total,
        machines_reporting=progress.reporting,
        machines_fetched=progress.fetched,
        machines_active=progress.active,
        machines_failed=progress.failed,
        origin_bytes=progress.bytes.origin,
        peer_bytes=progress.bytes.peer,
        local_bytes=progress.bytes.local,
    )
    log.info("deployment_ended", deployment=row.id, service=row.service, commit=row.commit_sha, state=state, reason=reason)


async def move(tx: AsyncConnection, row: AnyRow, state: DeploymentState, **values: Any) -> None:
    """Set state and other columns of the deployment, provided its state and token are still those of ``row`` (law 1).

    Raises:
        Stale: they are not.
    """
    before = DeploymentState(row.state)
    assert state is before or state in DEPLOYMENT_TRANSITIONS[before], f"{before} to {state}"
    unchanged = (
        deployments.c.id == row.id,
        deployments.c.state == row.state,
        deployments.c.token.is_not_distinct_from(row.token),
    )
    moved = await tx.execute(update(deployments).where(*unchanged).values(state=state, **values))
    if moved.rowcount != 1:
        raise Stale("stale_deployment", f"deployment {row.id} was moved on by somebody else: leave it to them")
    if state is not before:
        kind = EventKind.DEPLOYMENT_ENDED if state.ended else EventKind.DEPLOYMENT_CHANGED
        record_event(tx, kind, row.id, service=row.service, state=state, text=values.get("reason", ""))


def unknown(deployment: DeploymentId) -> NotFound:
    return NotFound("unknown_deployment", f"there is no deployment {deployment}")


async def shown_deployment(reading: AsyncConnection, row: AnyRow) -> Deployment:
    """From a row of :func:`deployment_rows`."""
    state = DeploymentState(row.state)
    skipped = row.skipped or ()
    distributed = row.distributed_at if state is DeploymentState.SUCCEEDED else None
    return Deployment(
        id=DeploymentId(row.id),
        service=ServiceName(row.service),
        environment=row.environment,
        kind=DeploymentKind(row.kind),
        sequence=row.sequence,
        commit_sha=CommitSha(row.commit_sha),
        state=state,
        reason=row.reason,
        build=None if row.build_id is None else BuildId(row.build_id),
        artifact=None if row.artifact_id is None else ArtifactName(row.artifact_name),
        release=None if row.artifact_id is None else release_of(row),
        generation=None if row.epoch is None else Generation(row.epoch, row.counter),
        created_at_ms=row.created_at,
        finished_at_ms=row.finished_at,
        build_s=_seconds(row.created_at, row.built_at),
        replicate_s=_seconds(row.built_at, row.replicated_at),
        distribute_s=_seconds(row.goal_at, distributed),
        artifact_bytes=row.artifact_bytes,
        progress=_frozen(row) if state.ended else total(await by_region(reading, DeploymentId(row.id), row.selector, skipped)),
        rolled_back_by=None if row.rolled_back_by is None else DeploymentId(row.rolled_back_by),
        plan=Policy().name if row.policy is None else row.policy.name,
        wave=0 if row.wave is None else row.wave + 1,
        waves=0 if row.plan is None else len(row.plan.waves),
        paused=row.paused_at is not None and not state.ended,
        skipped=skipped,
        by=row.by_whom or "",
        override_freeze=row.override_freeze or "",
        promoted_from=row.promoted_from,
        override=row.override or "",
    )


def _frozen(row: AnyRow) -> Progress:
    return Progress(
        total=row.machines_total,
        reporting=row.machines_reporting,
        fetched=row.machines_fetched,
        active=row.machines_active,
        failed=row.machines_failed,
        bytes=ByteCounts(row.origin_bytes, row.peer_bytes, row.local_bytes),
    )


def _seconds(start_ms: int | None, end_ms: int | None) -> float | None:
    """Between two of the database's times. A later thing that is dated earlier (a shared build, a machine that was active
    before the goal) took no time."""
    return None if start_ms is None or end_ms is None else max(0, end_ms - start_ms) / 1000
