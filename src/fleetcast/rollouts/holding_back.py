"""What people do to a deployment that goes in waves: hold it back, let it go on, skip a bake. The controller carries it out."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import Refused
from fleetcast.model.event import EventKind
from fleetcast.model.ids import DeploymentId
from fleetcast.model.limits import PAUSE_S_MAX
from fleetcast.model.spans import span
from fleetcast.rollouts.deployments import deployment_rows, unknown
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.events import record_event
from fleetcast.schema.rollout_tables import rollouts
from fleetcast.schema.tables import deployments
from fleetcast.stores.database import read_clock_ms


async def pause(tx: AsyncConnection, deployment: DeploymentId) -> None:
    """Let in no further wave, for at most ``PAUSE_S_MAX``; one that is paused already stays so. A wave that proves sick goes
    back all the same.

    Raises:
        NotFound: no such deployment.
        Refused: it has ended, or everybody is let in already.
    """
    row = await unfinished(tx, deployment)
    in_waves = row.plan is not None and row.wave < len(row.plan.waves) - 1
    if row.state == DeploymentState.DISTRIBUTING and not in_waves:
        advice = "fleetcast abort ends it there, fleetcast rollback undoes it"
        raise Refused("nothing_to_pause", f"deployment {deployment} has let everybody in already: {advice}")
    if row.paused_at is None:
        await _set(tx, row, paused_at=await read_clock_ms(tx))
        _told(tx, EventKind.DEPLOYMENT_PAUSED, row, f"paused; it has FAILED unless it is resumed within {span(PAUSE_S_MAX)}")


async def resume(tx: AsyncConnection, deployment: DeploymentId) -> None:
    """Go on. The time it was paused is not taken off what a wave may take.

    Raises:
        NotFound: no such deployment.
        Refused: it has ended, or is not paused.
    """
    row = await unfinished(tx, deployment)
    if row.paused_at is None:
        raise Refused("not_paused", f"deployment {deployment} is not paused: it goes on by itself")
    paused_ms = max(0, await read_clock_ms(tx) - row.paused_at)
    await _set(tx, row, paused_at=None, wave_at=None if row.wave_at is None else row.wave_at + paused_ms)
    _told(tx, EventKind.DEPLOYMENT_RESUMED, row, f"resumed after {span(paused_ms / 1000)}")


async def promote(tx: AsyncConnection, deployment: DeploymentId) -> None:
    """Skip the bake of the wave that is under way, or what is left of it. Its machines have to be healthy all the same.

    Raises:
        NotFound: no such deployment.
        Refused: it has ended, or has no wave that bakes.
    """
    row = await unfinished(tx, deployment)
    if row.plan is None or not (row.plan.waves[row.wave].bake_s or row.plan.waves[row.wave].checks):
        raise Refused("nothing_to_promote", f"deployment {deployment} has no wave that bakes: it goes on by itself")
    if row.promoted_wave != row.wave:
        await _set(tx, row, promoted_wave=row.wave)
        _told(tx, EventKind.DEPLOYMENT_PROMOTED, row, f"{row.plan.title(row.wave)} does not bake")


async def unfinished(tx: AsyncConnection, deployment: DeploymentId) -> AnyRow:
    """The row of a deployment that may be held back.

    Raises:
        NotFound: no such deployment.
        Refused: it has ended, or is of a version without waves.
    """
    row = (await tx.execute(deployment_rows().where(deployments.c.id == deployment))).one_or_none()
    if row is None:
        raise unknown(deployment)
    if DeploymentState(row.state).ended:
        raise Refused("deployment_ended", f"deployment {deployment} is {row.state} already")
    if row.policy is None:
        raise Refused("nothing_to_pause", f"deployment {deployment} was triggered by an older version: it has no waves")
    return row


async def _set(tx: AsyncConnection, row: AnyRow, **values: int | None) -> None:
    await tx.execute(update(rollouts).where(rollouts.c.deployment == row.id).values(**values))


def _told(tx: AsyncConnection, kind: EventKind, row: AnyRow, text: str) -> None:
    record_event(tx, kind, row.id, service=row.service, state=row.state, text=text)
