"""Labels that people give to machines, over what the machines' own settings say. SQL holds them; the KV is derived from it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import msgspec
import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.artifact import labels_key
from fleetcast.model.errors import Conflict, Invalid
from fleetcast.model.ids import MachineId
from fleetcast.model.limits import REPORTED_MACHINE_BYTES
from fleetcast.model.machine import GivenLabels, Machine, given_labels
from fleetcast.rollouts.inventory import known_machine
from fleetcast.schema.tables import machine_labels
from fleetcast.schema.upsert import upsert
from fleetcast.stores.database import Database, read_clock_ms
from fleetcast.stores.kv import KeyValueStore

log = structlog.get_logger(__name__)


async def given_to(reading: AsyncConnection, machine: MachineId) -> Mapping[str, str]:
    """What people gave this machine; empty: nothing."""
    rows = await reading.execute(select(machine_labels.c.labels).where(machine_labels.c.machine == machine))
    labels: Mapping[str, str] | None = rows.scalar_one_or_none()
    return labels or {}


async def give(
    tx: AsyncConnection, machine: MachineId, labels: Mapping[str, str], instead_of: Mapping[str, str] | None = None
) -> None:
    """Give a machine exactly these labels. They are published later, from this row; to repeat it changes nothing.

    Raises:
        NotFound: control has never seen this machine.
        Invalid: a label that cannot be given, or they are too long together with those of the machine itself.
        Conflict: it was given other labels than ``instead_of`` meanwhile.
    """
    wanted = given_labels(labels)
    known = (await known_machine(tx, machine)).machine
    before = await given_to(tx, machine)
    if before == wanted:
        return
    if instead_of is not None and before != instead_of:
        raise Conflict("labels_changed", f"somebody else has just labelled {machine}: look at it again")
    own = {key: value for key, value in known.labels.items() if key not in before}
    if Machine(known.id, known.region, known.zone, known.rack, own).labelled(wanted).too_long:
        most = REPORTED_MACHINE_BYTES // 2
        raise Invalid("labels_too_long", f"zone, rack and labels of {machine} would have more than {most} bytes: shorten them")
    row = {"machine": machine, "labels": wanted, "updated_at": await read_clock_ms(tx), "published": False}
    await upsert(tx, machine_labels, [row], update=["labels", "updated_at", "published"])
    log.info("machine_labelled", machine=machine, labels=wanted)


async def publish(database: Database, kv: KeyValueStore) -> None:
    """Bring what was given since into the KV. Safe to run in several processes at once."""
    async with database.reading() as reading:
        fresh = select(machine_labels.c.machine).where(machine_labels.c.published.is_(False))
        machines = (await reading.execute(fresh)).scalars().all()
    for machine in machines:
        with contextlib.suppress(Conflict):  # another process writes it: what is not published then is so at the next turn
            await _publish_one(database, kv, MachineId(machine))


async def restore(database: Database, kv: KeyValueStore) -> None:
    """Publish again what the KV has lost or holds otherwise, and take away what SQL knows nothing of (a restored backup)."""
    held = {entry.key: entry.value for entry in (await kv.range(labels_key(MachineId("")))).entries}
    async with database.reading() as reading:
        rows = (await reading.execute(select(machine_labels.c.machine, machine_labels.c.labels))).all()
    wanted = {labels_key(MachineId(row.machine)): _value(MachineId(row.machine), row.labels) for row in rows}
    lost = [MachineId(row.machine) for row in rows if held.get(key := labels_key(row.machine)) != wanted[key]]
    unknown = [MachineId(key.removeprefix(labels_key(MachineId("")))) for key in held.keys() - wanted.keys()]
    for machine in (*lost, *unknown):
        with contextlib.suppress(Conflict):
            await _publish_one(database, kv, machine)


async def _publish_one(database: Database, kv: KeyValueStore, machine: MachineId) -> None:
    """The KV is looked at before SQL: whoever writes it after that look wrote something newer, and this write loses."""
    key = labels_key(machine)
    entry = await kv.get(key)
    async with database.reading() as reading:
        row = (await reading.execute(select(machine_labels).where(machine_labels.c.machine == machine))).one_or_none()
    # Never deleted: that labels are taken away is said in so many words, what is missing was only lost.
    value = _value(machine, {} if row is None else row.labels)
    if entry is None or entry.value != value:
        await kv.put(key, value, expected=0 if entry is None else entry.mod_revision)
    if row is not None:
        unchanged = machine_labels.c.machine == machine, machine_labels.c.updated_at == row.updated_at
        async with database.transaction() as tx:
            await tx.execute(
                update(machine_labels).where(*unchanged, machine_labels.c.labels == row.labels).values(published=True)
            )


def _value(machine: MachineId, labels: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(GivenLabels(machine, labels), order="deterministic")
