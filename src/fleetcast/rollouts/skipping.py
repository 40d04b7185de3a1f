"""Going on without a region: one deployment leaves it out, as though it were drained, and its machines keep what they run."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import Refused
from fleetcast.model.event import EventKind
from fleetcast.model.goal import Goal
from fleetcast.model.ids import DeploymentId, RegionName, ServiceName
from fleetcast.rollouts.cohorts import inside, shut_out
from fleetcast.rollouts.counting import expected
from fleetcast.rollouts.goals import read_standing, write_goal
from fleetcast.rollouts.holding_back import unfinished
from fleetcast.rollouts.inventory import alike, known_region
from fleetcast.rollouts.planner import shutting_out
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.events import record_event
from fleetcast.schema.rollout_tables import rollouts


async def skip(tx: AsyncConnection, deployment: DeploymentId, region: RegionName) -> None:
    """Nobody of ``region`` switches over to this deployment's release from now on; those that did keep it. Nothing waits for
    the region's machines, nor for the copy in its bucket. Skipped once more, it stays so.

    Raises:
        NotFound: no such deployment or region.
        Refused: it has ended, means no machine there, or no other one.
    """
    row = await unfinished(tx, deployment)
    await known_region(tx, region)
    skipped: tuple[RegionName, ...] = row.skipped or ()
    if region in skipped:
        return
    there = (await expected(tx, row.selector)).keys()
    if region not in there:
        raise Refused("nothing_to_skip", f"deployment {deployment} means no machine in {region}: it does not wait for it")
    if not there - {region, *skipped}:
        raise Refused("nothing_left", f"without {region} deployment {deployment} means no machine: fleetcast abort ends it")
    await _set(tx, row, tuple(sorted({region, *skipped})))
    text = f"goes on without {region}: its machines keep what they run until the next deployment"
    record_event(tx, EventKind.DEPLOYMENT_SKIPPED, row.id, service=row.service, state=row.state, text=text)


async def unskip(tx: AsyncConnection, deployment: DeploymentId, region: RegionName) -> None:
    """Undo :func:`skip` while the deployment is under way: its waves mean the region's machines as if nothing had been.

    Raises:
        NotFound: no such deployment or region.
        Refused: it has ended, or the region is not skipped.
    """
    row = await unfinished(tx, deployment)
    await known_region(tx, region)
    skipped: tuple[RegionName, ...] = row.skipped or ()
    if region not in skipped:
        raise Refused("not_skipped", f"deployment {deployment} does not skip {region}: it means its machines already")
    goal = await _set(tx, row, tuple(each for each in skipped if each != region))
    if goal is not None and row.plan is not None:
        # Whom the waves so far let in there is counted again.
        fleet = [each for each in await alike(tx, row.selector, deployment) if each.like.region == region]
        again = {**row.wave_expected, **inside(goal.cohorts, fleet)}
        await tx.execute(update(rollouts).where(rollouts.c.deployment == row.id).values(wave_expected=again))
    text = f"means the machines of {region} again"
    record_event(tx, EventKind.DEPLOYMENT_SKIPPED, row.id, service=row.service, state=row.state, text=text)


async def _set(tx: AsyncConnection, row: AnyRow, skipped: tuple[RegionName, ...]) -> Goal | None:
    """Returns the goal that says so; ``None``: none is written yet."""
    await tx.execute(update(rollouts).where(rollouts.c.deployment == row.id).values(skipped=skipped))
    if row.state != DeploymentState.DISTRIBUTING:
        return None
    standing = await read_standing(tx, ServiceName(row.service), row.environment)
    assert standing is not None
    assert standing.goal is not None
    goal = shutting_out(standing.goal, shut_out(skipped), standing.generation.next())
    await write_goal(tx, goal, standing.goal_sequence, over=standing.generation)
    return goal
