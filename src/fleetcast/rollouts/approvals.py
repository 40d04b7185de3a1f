"""Approving deployments, and refusing them, in SQL. The controller goes on by what was approved."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import DeploymentKind, DeploymentState
from fleetcast.model.errors import Refused, Unprocessable
from fleetcast.model.event import EventKind
from fleetcast.model.ids import DeploymentId
from fleetcast.model.limits import FREEZE_REASON_CHARS_MAX
from fleetcast.rollouts.deployments import deployment_rows, unknown
from fleetcast.rollouts.hold_facts import next_approvals
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.events import record_event
from fleetcast.schema.rollout_tables import approvals
from fleetcast.schema.tables import deployments
from fleetcast.schema.upsert import insert_into
from fleetcast.stores.database import now_ms


async def approve(tx: AsyncConnection, deployment: DeploymentId, by: str) -> None:
    """Of the next wave, whether it is ready to be let in or not. Who approves it twice has approved it once.

    Raises:
        NotFound: no such deployment.
        Refused: it has ended, its next wave needs no approval, or it is ``by``'s own.
    """
    row, wave, needed = await _waiting(tx, deployment)
    if row.by_whom == by and not row.policy.self_approval:
        raise Refused("own_deployment", f"{by} triggered deployment {deployment}: somebody else has to approve it")
    given = insert_into(tx, approvals).values(deployment=deployment, wave=wave, by_whom=by, at=now_ms())
    fresh = (await tx.execute(given.on_conflict_do_nothing().returning(approvals.c.by_whom))).first() is not None
    if fresh:
        of_wave = select(func.count()).where(approvals.c.deployment == deployment, approvals.c.wave == wave)
        count = (await tx.execute(of_wave)).scalar_one()
        text = f"{_step(row, wave)} approved by {by}: {count} of {needed}"
        record_event(tx, EventKind.DEPLOYMENT_APPROVED, deployment, service=row.service, state=row.state, text=text)


async def record_refusal(tx: AsyncConnection, deployment: DeploymentId, reason: str, by: str) -> None:
    """Whoever calls this ends the deployment. Raises as :func:`approve`, but anybody may refuse their own."""
    row, wave, _ = await _waiting(tx, deployment)
    text = f"{_step(row, wave)} refused by {by}: {reason}"
    record_event(tx, EventKind.DEPLOYMENT_REFUSED, deployment, service=row.service, state=row.state, text=text)


def must_be_a_reason(text: str, said_by: str, *, optional: bool = False, chars_max: int = FREEZE_REASON_CHARS_MAX) -> None:
    """Raises :class:`Unprocessable` unless it is one line of at most ``chars_max``."""
    if not ((text or optional) and len(text) <= chars_max and text.isprintable()):
        raise Unprocessable("no_reason", f"say why, with {said_by}, in 1 to {chars_max} printable characters")


async def _waiting(tx: AsyncConnection, deployment: DeploymentId) -> tuple[AnyRow, int, int]:
    """A deployment whose next wave needs approval, the index of that wave, and how many have to approve it."""
    row = (await tx.execute(deployment_rows().where(deployments.c.id == deployment))).one_or_none()
    if row is None:
        raise unknown(deployment)
    if DeploymentState(row.state).ended:
        raise Refused("deployment_ended", f"deployment {deployment} is {row.state} already")
    all_at_once = row.state == DeploymentState.DISTRIBUTING and row.plan is None
    needed = 0
    if row.policy is not None and row.kind != DeploymentKind.ROLLBACK and not all_at_once:
        wave, needed = next_approvals(row)
    if not needed:
        raise Refused("nothing_to_approve", f"deployment {deployment} waits for nobody's approval: fleetcast abort ends it")
    return row, wave, needed


def _step(row: AnyRow, wave: int) -> str:
    return "its first machine" if row.plan is None else str(row.plan.title(wave))
