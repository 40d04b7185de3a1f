"""Services as engineers registered them."""

from __future__ import annotations

from dataclasses import asdict, replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.errors import NotFound
from fleetcast.model.event import EventKind
from fleetcast.model.ids import ServiceName
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.protocol import PROTOCOL
from fleetcast.model.push import OnPush
from fleetcast.model.spans import span
from fleetcast.rollouts.names import service_like
from fleetcast.rollouts.trunk_heads import follow
from fleetcast.schema.columns import AnyRow, limits_of
from fleetcast.schema.events import record_event
from fleetcast.schema.tables import services
from fleetcast.schema.upsert import upsert
from fleetcast.stores.database import read_clock_ms


async def put_service(tx: AsyncConnection, spec: ServiceSpec) -> None:
    """Create or change a service, or bring back one that was removed. What was triggered before keeps what it was triggered
    with."""
    now = await read_clock_ms(tx)
    before = (await tx.execute(select(services).where(services.c.name == spec.name))).one_or_none()
    changeable = {
        "repository": spec.repository,
        "trunk": spec.trunk,
        "environment": spec.environment,
        "selector": spec.selector,
        "recipe": spec.recipe,
        **asdict(spec.limits),
        "on_push": spec.on_push,
        "poll_every_s": spec.poll_every_s,
        "plan": spec.plan,
        "requires": spec.requires,
        "updated_at": now,
        "removed_at": None,
    }
    await upsert(tx, services, [{"name": spec.name, "created_at": now, **changeable}], update=list(changeable))
    await follow(tx, None if before is None or before.removed_at is not None else _spec(before), spec)
    if before is None or before.removed_at is not None or _spec(before) != replace(spec, protocol=PROTOCOL):
        made = "created" if before is None or before.removed_at is not None else "changed"
        record_event(tx, EventKind.SERVICE_PUT, spec.name, service=spec.name, text=made)


async def get_service(reading: AsyncConnection, name: ServiceName) -> ServiceSpec:
    """Raises :class:`NotFound`, for one that was removed too."""
    row = await known_service(reading, name)
    if row.removed_at is not None:
        ago = span((await read_clock_ms(reading) - row.removed_at) / 1000)
        advice = f"fleetcast service add {name} REPOSITORY brings it back, fleetcast status {name} shows its deployments"
        raise NotFound("service_removed", f"service {name!r} was removed {ago} ago: {advice}")
    return _spec(row)


async def known_service(reading: AsyncConnection, name: ServiceName) -> AnyRow:
    """Its row, removed or not. Raises :class:`NotFound`."""
    row = (await reading.execute(select(services).where(services.c.name == name))).one_or_none()
    if row is None:
        if (like := await service_like(reading, name)) is not None:
            raise NotFound("unknown_service", f"there is no service {name!r}: did you mean {like!r}?")
        advice = f"fleetcast service list shows those there are, fleetcast service add {name} REPOSITORY makes it"
        raise NotFound("unknown_service", f"there is no service {name!r}: {advice}")
    return row


async def list_services(
    reading: AsyncConnection, after: str | None = None, *, at_most: int | None = None
) -> tuple[ServiceSpec, ...]:
    """Services but those that were removed, by name; all of them, or those behind the name ``after``."""
    rows = select(services).where(services.c.removed_at.is_(None)).order_by(services.c.name).limit(at_most)
    if after is not None:
        rows = rows.where(services.c.name > after)
    return tuple(_spec(row) for row in await reading.execute(rows))


def _spec(row: AnyRow) -> ServiceSpec:
    return ServiceSpec(
        name=ServiceName(row.name),
        repository=row.repository,
        trunk=row.trunk,
        environment=row.environment,
        selector=row.selector,
        recipe=row.recipe,
        **asdict(limits_of(row)),
        on_push=OnPush(row.on_push),
        poll_every_s=row.poll_every_s,
        plan=row.plan,
        requires=row.requires,
    )
