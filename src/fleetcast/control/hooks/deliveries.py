"""Which webhooks were carried out, in SQL: what comes again is answered as it was the first time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.limits import HOOK_DELIVERIES_KEPT_MAX, HOOK_DELIVERIES_KEPT_S
from fleetcast.model.messages.hooks import HookAnswer
from fleetcast.schema.push_tables import hook_deliveries
from fleetcast.schema.upsert import insert_into
from fleetcast.stores.database import now_ms


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook."""

    forge: str
    id: str
    digest: str
    """SHA-256 of the body."""
    body_is_unique: bool
    """Two deliveries never have the same body, so one that comes under another id is a replay too: where the id is not signed,
    and the body states the time."""


async def earlier_answer(reading: AsyncConnection, delivery: Delivery) -> HookAnswer | None:
    """What it was answered when it came before; ``None``: it is new. The id alone decides: GitHub tells all webhooks that hear
    of one event by the same id, and not all in the same words."""
    same = hook_deliveries.c.delivery == delivery.id
    if delivery.body_is_unique:
        same = or_(same, hook_deliveries.c.digest == delivery.digest)
    rows = select(hook_deliveries.c.answer).where(hook_deliveries.c.forge == delivery.forge, same).limit(1)
    answer: HookAnswer | None = (await reading.execute(rows)).scalar_one_or_none()
    return None if answer is None else replace(answer, replayed=True)


async def remember(tx: AsyncConnection, delivery: Delivery, answer: HookAnswer) -> None:
    """Of two that came at once, the first to get here is remembered; what they did, they did once (``rollouts/pushes.py``)."""
    row = {"forge": delivery.forge, "delivery": delivery.id, "digest": delivery.digest, "answer": answer}
    await tx.execute(insert_into(tx, hook_deliveries).values(received_at=now_ms(), **row).on_conflict_do_nothing())


async def forget_deliveries(
    tx: AsyncConnection, *, kept_s: float = HOOK_DELIVERIES_KEPT_S, kept_max: int = HOOK_DELIVERIES_KEPT_MAX
) -> int:
    """Forget those of longer ago than ``kept_s``, and the oldest above ``kept_max``. Returns how many."""
    received_at = hook_deliveries.c.received_at
    gone = (await tx.execute(delete(hook_deliveries).where(received_at < now_ms() - int(kept_s * 1000)))).rowcount
    count = (await tx.execute(select(func.count()).select_from(hook_deliveries))).scalar_one()
    if count > kept_max:
        newest = select(received_at).order_by(received_at.desc()).offset(kept_max - 1).limit(1)
        oldest_kept = (await tx.execute(newest)).scalar_one()
        gone += (await tx.execute(delete(hook_deliveries).where(received_at < oldest_kept))).rowcount
    return gone
