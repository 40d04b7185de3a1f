"""What SQL knows that decides what may be collected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection as Several
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, case, exists, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import DEPLOYMENT_TRANSITIONS, DeploymentState
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import ArtifactName, Digest, ServiceName
from fleetcast.model.limits import RELEASES_SUCCEEDED_KEPT
from fleetcast.model.retention import Collection
from fleetcast.retention.collection import Held
from fleetcast.retention.planning import Stored
from fleetcast.retention.protection import Standing, Wanted, protections
from fleetcast.schema.columns import AnyRow, AnyRows
from fleetcast.schema.region_tables import region_rollbacks
from fleetcast.schema.tables import artifacts, deployments, goals

UNFINISHED: Final = deployments.c.state.in_(tuple(DEPLOYMENT_TRANSITIONS))
OF_DEPLOYMENT: Final = or_(artifacts.c.id == deployments.c.artifact_id, artifacts.c.build_id == deployments.c.build_id)
"""Artifacts of a deployment: also the one that its build has made and that it does not name yet."""
IN_FLIGHT: Final = exists().where(UNFINISHED, OF_DEPLOYMENT)
"""Of a row of ``artifacts``: an unfinished deployment wants it."""
_HISTORY: Final = RELEASES_SUCCEEDED_KEPT + 3
"""Releases that are enough for law 5, whichever of them goal, baseline and the one before are."""
_LOOKED_AT: Final = 50
"""Deployments of a service at a time."""


async def stored(reading: AsyncConnection, only: Several[Digest] | None = None) -> tuple[Stored, ...]:
    """What is in the main store and not being collected, with what protects it; ``only``: of these."""
    kept = select(artifacts.c.digest).where(artifacts.c.collection == Collection.KEPT)
    if only is not None:
        kept = kept.where(artifacts.c.digest.in_(only))
    last = _last_uses(only).subquery()
    columns = (
        artifacts.c.name,
        artifacts.c.service,
        artifacts.c.digest,
        artifacts.c.published_at,
        (artifacts.c.manifest_size + artifacts.c.content_size).label("size"),
        case((last.c.at > artifacts.c.created_at, last.c.at), else_=artifacts.c.created_at).label("used_at"),
    )
    rows = (
        select(*columns)
        .join(last, last.c.artifact_id == artifacts.c.id, isouter=True)
        .where(artifacts.c.digest.in_(kept))
        .order_by(artifacts.c.id.desc())
    )
    grouped: dict[Digest, list[AnyRow]] = defaultdict(list)
    for row in await reading.execute(rows):
        grouped[Digest(row.digest)].append(row)
    services = None if only is None else {row.service for rows_of in grouped.values() for row in rows_of}
    protected = await protected_releases(reading, services)
    return tuple(_stored(digest, rows_of, protected.get(digest, "")) for digest, rows_of in grouped.items())


def _last_uses(only: Several[Digest] | None) -> AnyRows:
    """When a deployment of each artifact ended last; one that is unfinished began."""
    at = func.max(func.coalesce(deployments.c.finished_at, deployments.c.created_at)).label("at")
    uses = select(deployments.c.artifact_id, at).group_by(deployments.c.artifact_id)
    if only is None:
        return uses
    return uses.where(deployments.c.artifact_id.in_(select(artifacts.c.id).where(artifacts.c.digest.in_(only))))


def _stored(digest: Digest, rows: Iterable[AnyRow], protection: str) -> Stored:
    rows = list(rows)
    held = Held(
        digest=digest,
        services=frozenset(ServiceName(row.service) for row in rows),
        size=rows[0].size,
        used_at_ms=max(row.used_at for row in rows),
        protection=protection,
    )
    names = tuple(ArtifactName(row.name) for row in rows)
    return Stored(held, names, any(row.published_at is not None for row in rows))


async def protected_releases(reading: AsyncConnection, services: Several[str] | None = None) -> Mapping[Digest, str]:
    """Why what is protected is: all of it, or that of some services."""
    pinned = select(artifacts.c.digest).where(artifacts.c.pinned_at.is_not(None), _of(artifacts.c.service, services))
    wanted = [Wanted(Digest(digest), "it is pinned") for digest in (await reading.execute(pinned)).scalars()]
    flying = (
        select(artifacts.c.digest, deployments.c.id, deployments.c.state)
        .join_from(deployments, artifacts, OF_DEPLOYMENT)
        .where(UNFINISHED)
    )
    wanted += [Wanted(Digest(row.digest), f"deployment {row.id} is {row.state}") for row in await reading.execute(flying)]
    gone_back = select(region_rollbacks.c.rollback).where(region_rollbacks.c.over_at.is_(None))
    for rollback in (await reading.execute(gone_back)).scalars():
        wanted.append(Wanted(rollback.target.digest, f"region {rollback.region} was rolled back to it"))
    held = select(goals).where(goals.c.value.is_not(None), _of(goals.c.service, services))
    standings = [await _standing(reading, row) for row in (await reading.execute(held)).all()]
    return protections([standing for standing in standings if standing is not None], wanted)


async def _standing(reading: AsyncConnection, row: AnyRow) -> Standing | None:
    """``None``: the service was removed, and no machine keeps anything of it."""
    goal = msgspec.json.decode(row.value, type=Goal)
    if goal.removed:
        return None
    here = deployments.c.service == row.service, deployments.c.environment == row.environment
    before = (
        deployments.c.goal_at.is_not(None),
        deployments.c.sequence < row.goal_sequence,
        artifacts.c.root != goal.target.root,
    )
    ended_well = deployments.c.state == DeploymentState.SUCCEEDED
    previous = await _history(reading, *here, *before, at_most=1)
    return Standing(
        service=ServiceName(row.service),
        environment=row.environment,
        target=goal.target,
        baseline=goal.baseline,
        previous=previous[0] if previous else None,
        succeeded=await _history(reading, *here, ended_well, at_most=_HISTORY),
        not_rolled_back=await _history(reading, *here, ended_well, deployments.c.rolled_back_by.is_(None), at_most=_HISTORY),
    )


async def _history(reading: AsyncConnection, *which: ColumnElement[bool], at_most: int) -> tuple[ReleaseRef, ...]:
    """Releases of such deployments, each once, the newest first. A long history is read no further back than that takes."""
    newest_first = (
        select(deployments.c.sequence, artifacts.c.name, artifacts.c.digest, artifacts.c.root)
        .join_from(deployments, artifacts, deployments.c.artifact_id == artifacts.c.id)
        .where(*which)
        .order_by(deployments.c.sequence.desc())
        .limit(_LOOKED_AT)
    )
    found: dict[ReleaseRef, None] = {}
    page = (await reading.execute(newest_first)).all()
    while True:
        found.update(dict.fromkeys(ReleaseRef(ArtifactName(row.name), Digest(row.digest), Digest(row.root)) for row in page))
        if len(found) >= at_most or len(page) < _LOOKED_AT:
            return tuple(found)[:at_most]
        page = (await reading.execute(newest_first.where(deployments.c.sequence < page[-1].sequence))).all()


def _of(column: ColumnElement[str], services: Several[str] | None) -> ColumnElement[bool]:
    return true() if services is None else column.in_(services)
