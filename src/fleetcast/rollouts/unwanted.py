"""A build ends with the last deployment that wanted it, unless somebody ordered it for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.build import BuildOrder, Lane
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.ids import BuildId
from fleetcast.rollouts.deployments import UNFINISHED
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.job_locks import JOBS
from fleetcast.schema.tables import deployments, jobs
from fleetcast.stores.locks import take_lock


class Builds(Protocol):
    """What rollouts need of the build queue."""

    on_queued: Callable[[], None]
    """To be called after the commit of a transaction in which something was enqueued."""

    async def enqueue(
        self, tx: AsyncConnection, order: BuildOrder, *, for_itself: bool = False, lane: Lane = Lane.ORDINARY
    ) -> BuildId:
        """Queue a build as part of ``tx``, or share the one of the same name that waits or runs."""
        ...

    async def stop(self, tx: AsyncConnection, build: BuildId, reason: str) -> bool:
        """End a build FAILED as part of ``tx``. Whether it had not ended before."""
        ...


async def stop_unwanted(tx: AsyncConnection, builds: Builds, row: AnyRow, state: DeploymentState) -> str:
    """To be called before the deployment of ``row`` ends as ``state``. What to add to its reason."""
    if row.state != DeploymentState.BUILDING or row.build_id is None:
        return ""
    await take_lock(tx, JOBS)
    # Locked before anybody else's interest is looked at: of two deployments that end at once, the later sees that it is last.
    job = (await tx.execute(select(jobs.c.for_itself).where(jobs.c.id == row.build_id).with_for_update())).one()
    others = select(deployments.c.id).where(
        deployments.c.state.in_(UNFINISHED), deployments.c.build_id == row.build_id, deployments.c.id != row.id
    )
    if job.for_itself or (await tx.execute(others.limit(1))).first() is not None:
        return ""
    reason = f"nobody wants it any more: its deployment was {state.lower()}"
    return f"; build {row.build_id} was stopped" if await builds.stop(tx, BuildId(row.build_id), reason) else ""
