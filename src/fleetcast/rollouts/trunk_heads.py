"""What is known of the trunks of services, in SQL: where each is, and when control looks at it."""

from __future__ import annotations

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.ids import ServiceName
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.push import OnPush
from fleetcast.rollouts.push_order import Head
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.push_tables import trunk_heads
from fleetcast.schema.upsert import insert_into, upsert
from fleetcast.stores.database import now_ms, read_clock_ms


async def follow(tx: AsyncConnection, before: ServiceSpec | None, spec: ServiceSpec | None) -> None:
    """To be called where a service is written (``None``: it is not there). What was known of another branch is forgotten; the
    first look at a branch, like the first webhook about it, starts from nothing."""
    after = spec or before
    if after is None or (before is not None and _followed(before) == _followed(spec)):
        return
    await tx.execute(delete(trunk_heads).where(trunk_heads.c.service == after.name))
    if spec is not None and spec.on_push is not OnPush.NOTHING and spec.poll_every_s is not None:
        now = await read_clock_ms(tx)
        await upsert(tx, trunk_heads, [{"service": spec.name, "seen_at": now, "look_at": now}], update=["look_at"])


async def locked(tx: AsyncConnection, service: ServiceName) -> AnyRow:
    """The service's row, made where there is none, for a write of it: nobody else writes it until ``tx`` ends."""
    await tx.execute(insert_into(tx, trunk_heads).values(service=service, seen_at=now_ms()).on_conflict_do_nothing())
    return (await tx.execute(select(trunk_heads).where(trunk_heads.c.service == service).with_for_update())).one()


def head_of(row: AnyRow) -> Head | None:
    return None if row.head is None else Head(row.head, row.passed, row.pushed_at)


async def write_head(tx: AsyncConnection, service: ServiceName, head: Head) -> None:
    await tx.execute(
        update(trunk_heads)
        .where(trunk_heads.c.service == service)
        .values(head=head.sha, passed=head.passed, pushed_at=head.pushed_at_ms, seen_at=now_ms())
    )


async def look_now(tx: AsyncConnection, service: ServiceName) -> None:
    """Have control look at the service's branch at its next turn."""
    await tx.execute(update(trunk_heads).where(trunk_heads.c.service == service).values(look_at=now_ms()))


def _followed(spec: ServiceSpec | None) -> tuple[object, ...]:
    return () if spec is None else (spec.repository, spec.trunk, spec.on_push, spec.poll_every_s)
