"""Freezes of the whole company, or of several services, in SQL."""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.errors import NotFound, Refused, Unprocessable
from fleetcast.model.event import EventKind
from fleetcast.model.freeze import Freeze
from fleetcast.model.ids import ServiceName
from fleetcast.model.limits import FREEZE_SERVICES_MAX, FREEZES_MAX
from fleetcast.model.messages.freezes import CompanyFreeze, FreezeOrder
from fleetcast.rollouts.freezes import Zoned, freeze_problems, frozen
from fleetcast.rollouts.services import get_service
from fleetcast.rollouts.time_zones import must_be_known, zone_of
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.events import record_event
from fleetcast.schema.rollout_tables import freezes
from fleetcast.schema.upsert import upsert
from fleetcast.stores.database import read_clock_ms


async def put_freeze(tx: AsyncConnection, order: FreezeOrder, by: str) -> CompanyFreeze:
    """Add a freeze, or change the one of that name. It counts from now on, for deployments that are under way too.

    Raises:
        Unprocessable: it makes no sense, or control does not know its time zone.
        NotFound: it names a service that is not there.
        Refused: there are ``FREEZES_MAX`` already.
    """
    for problem in freeze_problems([order.freeze]):
        raise Unprocessable("illegal_freeze", f"the freeze cannot be taken: {problem}")
    must_be_known([order.freeze])
    if len(order.services) > FREEZE_SERVICES_MAX:
        raise Unprocessable(
            "illegal_freeze", f"the freeze names more than {FREEZE_SERVICES_MAX} services: leave them out for all"
        )
    for service in order.services:
        await get_service(tx, service)
    others = select(func.count()).select_from(freezes).where(freezes.c.name != order.name)
    if (await tx.execute(others)).scalar_one() >= FREEZES_MAX:
        raise Refused("too_many_freezes", f"there are {FREEZES_MAX} freezes already: fleetcast freeze remove NAME makes room")
    now = await read_clock_ms(tx)
    row = {"name": order.name, "freeze": order.freeze, "services": order.services, "by_whom": by, "created_at": now}
    await upsert(tx, freezes, [row], update=["freeze", "services", "by_whom", "created_at"])
    record_event(tx, EventKind.FREEZE_PUT, order.name, text=f"by {by}: {order.freeze.reason}")
    return _shown((await tx.execute(select(freezes).where(freezes.c.name == order.name))).one(), now)


async def remove_freeze(tx: AsyncConnection, name: str, by: str) -> CompanyFreeze:
    """What it held goes on at once. Raises :class:`NotFound`."""
    row = (await tx.execute(select(freezes).where(freezes.c.name == name))).one_or_none()
    if row is None:
        raise NotFound("unknown_freeze", f"there is no freeze {name!r}: fleetcast freeze list shows those there are")
    await tx.execute(delete(freezes).where(freezes.c.name == name))
    record_event(tx, EventKind.FREEZE_REMOVED, name, text=f"by {by}")
    return _shown(row, await read_clock_ms(tx))


async def list_freezes(reading: AsyncConnection) -> tuple[CompanyFreeze, ...]:
    """All there are, by name."""
    now = await read_clock_ms(reading)
    return tuple(_shown(row, now) for row in await reading.execute(select(freezes).order_by(freezes.c.name)))


async def freezes_of(reading: AsyncConnection, service: ServiceName) -> tuple[Freeze, ...]:
    """Those that a deployment of the service has to heed, in force or not."""
    rows = await reading.execute(select(freezes.c.freeze, freezes.c.services).order_by(freezes.c.name))
    return tuple(row.freeze for row in rows if not row.services or service in row.services)


def _shown(row: AnyRow, now: int) -> CompanyFreeze:
    in_force = frozen([Zoned(row.freeze, zone_of(row.freeze.zone))], now)
    return CompanyFreeze(
        name=row.name,
        freeze=row.freeze,
        services=row.services,
        by=row.by_whom,
        created_at_ms=row.created_at,
        in_force=in_force is not None,
        until_ms=None if in_force is None else in_force.until_ms,
    )
