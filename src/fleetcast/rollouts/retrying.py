"""Machines that failed the present deployment of a service try it again, because somebody says so."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import Refused
from fleetcast.model.event import EventKind
from fleetcast.model.goal import NOBODY, Goal
from fleetcast.model.ids import CommitSha, DeploymentId, Digest, ServiceName
from fleetcast.model.plan import Policy, Preset
from fleetcast.rollouts.deployments import deployment_rows
from fleetcast.rollouts.entering import Entry, enter
from fleetcast.rollouts.environments import service_in
from fleetcast.rollouts.goals import read_standing, write_goal
from fleetcast.rollouts.planner import tried_again
from fleetcast.schema.columns import AnyRow, limits_of
from fleetcast.schema.events import record_event
from fleetcast.schema.release_locks import in_main_store, lock_releases
from fleetcast.schema.rollout_tables import rollouts
from fleetcast.schema.tables import deployments, rollups
from fleetcast.stores.database import now_ms


async def retry(tx: AsyncConnection, service: ServiceName, environment: str | None, by: str = "") -> DeploymentId:
    """Returns the deployment that tries: the present one while it is under way, by its goal a generation up; else a new one of
    the same release, all at once, within the budgets of the one that has ended. Who runs the release already does nothing.
    ``environment``: of the service; ``None``: its own.

    Raises:
        NotFound: no such service or environment.
        Refused: nothing is deployed, no machine has failed, or the deployment stopped in its waves.
    """
    spec = await service_in(tx, service, environment)
    standing = await read_standing(tx, spec.name, spec.environment)
    if standing is None or standing.goal is None or standing.goal.removed:
        raise Refused("nothing_deployed", f"{spec.name} has no deployment whose machines could try again: deploy a commit")
    row = (await tx.execute(deployment_rows().where(deployments.c.id == standing.goal.deployment))).one()
    if row.state != DeploymentState.DISTRIBUTING and not _lets_in(standing.goal):
        advice = f"fleetcast deploy {spec.name}@{row.commit_sha} begins it anew"
        raise Refused("nothing_to_retry", f"deployment {row.id} is {row.state} and stopped where it stood: {advice}")
    if not await _failed(tx, row):
        raise Refused(
            "nothing_failed", f"no machine has failed deployment {row.id}, which is {row.state}: nothing to try again"
        )
    if row.state != DeploymentState.DISTRIBUTING:
        return await _once_more(tx, row, by)
    goal = tried_again(standing.goal, standing.generation.next())
    await write_goal(tx, goal, standing.goal_sequence, over=standing.generation)
    text = "machines that failed try again"
    record_event(tx, EventKind.DEPLOYMENT_RETRIED, row.id, service=row.service, state=row.state, text=text)
    return DeploymentId(row.id)


def _lets_in(goal: Goal) -> bool:
    return any(cohort.threshold != NOBODY for cohort in goal.cohorts)


async def _failed(tx: AsyncConnection, row: AnyRow) -> int:
    if row.state != DeploymentState.DISTRIBUTING:
        return int(row.machines_failed or 0)
    told = select(func.coalesce(func.sum(rollups.c.failed), 0)).where(rollups.c.deployment == row.id)
    return int((await tx.execute(told)).scalar_one())


async def _once_more(tx: AsyncConnection, row: AnyRow, by: str) -> DeploymentId:
    await lock_releases(tx, [Digest(row.artifact_digest)])
    if not await in_main_store(tx, Digest(row.artifact_digest)):
        command = f"fleetcast deploy {row.service}@{row.commit_sha} --rebuild"
        raise Refused("artifact_collected", f"{row.artifact_name} was collected: {command} builds it again")
    policy = replace(row.policy or Policy(), preset=Preset.ALL_AT_ONCE, stages=())
    commit = CommitSha(row.commit_sha)
    entry = Entry(ServiceName(row.service), row.environment, commit, row.selector, limits_of(row), policy, by)
    again = await enter(tx, entry, DeploymentState.REPLICATING, artifact_id=row.artifact_id, built_at=now_ms())
    if row.skipped:
        await tx.execute(update(rollouts).where(rollouts.c.deployment == again).values(skipped=row.skipped))
    return again
