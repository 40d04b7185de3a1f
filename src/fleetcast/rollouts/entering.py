"""Entering a deployment into the tables: what people trigger, and rollbacks of releases that proved sick."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from typing import Any, Final

import structlog
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import DeploymentKind, DeploymentState
from fleetcast.model.event import EventKind
from fleetcast.model.goal import Limits
from fleetcast.model.ids import CommitSha, DeploymentId, Digest, ServiceName
from fleetcast.model.machine import Selector
from fleetcast.model.plan import Policy
from fleetcast.rollouts.deployments import UNFINISHED, deployment_rows
from fleetcast.rollouts.goals import mint_sequence
from fleetcast.rollouts.going_back import Past, last_good
from fleetcast.schema.columns import AnyRow, limits_of
from fleetcast.schema.events import record_event
from fleetcast.schema.release_locks import lock_releases
from fleetcast.schema.rollout_tables import rollouts
from fleetcast.schema.tables import deployments
from fleetcast.stores.database import now_ms

log = structlog.get_logger(__name__)

_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """What a deployment is to do, as far as that is known when it is triggered."""

    service: ServiceName
    environment: str
    commit_sha: CommitSha
    selector: Selector
    limits: Limits
    policy: Policy
    by: str = ""
    """Who wants it, by the name of a token; empty: nobody in person."""
    override_freeze: str = ""
    """Why freezes do not hold it; empty: they do."""
    promoted_from: str | None = None
    """The environment whose release it takes over."""
    override: str = ""
    """Why it may come although what its environment requires does not hold; empty: that does."""


async def enter(
    tx: AsyncConnection, entry: Entry, state: DeploymentState, kind: DeploymentKind = DeploymentKind.DEPLOY, **values: Any
) -> DeploymentId:
    """A new deployment with the next sequence number."""
    deployment = DeploymentId(secrets.token_hex(_ID_BYTES))
    sequence = await mint_sequence(tx, entry.service, entry.environment)
    row = {
        "id": deployment,
        "service": entry.service,
        "environment": entry.environment,
        "kind": kind,
        "sequence": sequence,
        "commit_sha": entry.commit_sha,
        "selector": entry.selector,
        **asdict(entry.limits),
        "state": state,
        "created_at": now_ms(),
    }
    await tx.execute(insert(deployments).values(**row, **values))
    rollout = {"policy": entry.policy, "by_whom": entry.by or None, "override_freeze": entry.override_freeze or None}
    rollout |= {"promoted_from": entry.promoted_from, "override": entry.override or None}
    await tx.execute(insert(rollouts).values(deployment=deployment, **rollout))
    said = f"{kind} of {entry.commit_sha}" + (f" by {entry.by}" if entry.by else "")
    if entry.promoted_from:
        said += f", promoted from {entry.promoted_from}"
    if entry.override_freeze:
        said += f", whatever is frozen: {entry.override_freeze}"
    if entry.override:
        said += f", whatever {entry.environment} requires: {entry.override}"
    record_event(tx, EventKind.DEPLOYMENT_TRIGGERED, deployment, service=entry.service, state=state, text=said)
    log.info(
        "deployment_triggered",
        deployment=deployment,
        service=entry.service,
        commit=entry.commit_sha,
        kind=kind,
        sequence=sequence,
        by=entry.by,
    )
    return deployment


async def enter_rollback(tx: AsyncConnection, entry: Entry, target: AnyRow) -> DeploymentId:
    """A rollback to the release of the earlier deployment ``target``. It has no waves: what it brings back was healthy."""
    return await enter(
        tx,
        entry,
        DeploymentState.REPLICATING,
        DeploymentKind.ROLLBACK,
        artifact_id=target.artifact_id,
        back_to_sequence=target.sequence,
        built_at=now_ms(),
    )


async def take_back(tx: AsyncConnection, sick: AnyRow) -> tuple[DeploymentId, AnyRow] | None:
    """Enter the rollback of a deployment that proved sick while it was rolled out; with the row of the one it goes back to.

    ``None``: there is nothing to go back to. Whatever was triggered after the sick one comes after the rollback too: it may be
    the cure, and keeps its turn.
    """
    service = ServiceName(sick.service)
    newest = (
        deployment_rows()
        .where(
            deployments.c.service == service,
            deployments.c.environment == sick.environment,
            deployments.c.state == DeploymentState.SUCCEEDED,
            deployments.c.sequence < sick.sequence,
            deployments.c.rolled_back_by.is_(None),
        )
        .order_by(deployments.c.sequence.desc())
        .limit(1)
    )
    target = (await tx.execute(newest)).one_or_none()
    if target is None or last_good([past_of(target)], past_of(sick)) is None:
        return None
    await lock_releases(tx, [Digest(target.artifact_digest)])  # not to be collected meanwhile
    commit = CommitSha(target.commit_sha)
    entry = Entry(service, sick.environment, commit, sick.selector, limits_of(sick), Policy())
    back = await enter_rollback(tx, entry, target)
    later = (
        select(deployments.c.id)
        .where(
            deployments.c.service == service,
            deployments.c.environment == sick.environment,
            deployments.c.sequence > sick.sequence,
            deployments.c.state.in_(UNFINISHED),
            deployments.c.id != back,
        )
        .order_by(deployments.c.sequence)
    )
    for deployment in (await tx.execute(later)).scalars().all():
        sequence = await mint_sequence(tx, service, sick.environment)
        await tx.execute(update(deployments).where(deployments.c.id == deployment).values(sequence=sequence))
    return back, target


def past_of(row: AnyRow) -> Past:
    """From a row of :func:`~fleetcast.rollouts.deployments.deployment_rows` that has an artifact."""
    return Past(
        DeploymentId(row.id),
        row.sequence,
        DeploymentState(row.state),
        row.rolled_back_by is not None,
        CommitSha(row.commit_sha),
        Digest(row.artifact_root),
    )
