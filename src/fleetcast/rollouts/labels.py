"""Labels that people give to machines, over what the machines' own settings say. SQL holds them; the KV is derived from it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import msgspec
import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.artifact import labels_key
from fleetcast.model.errors import Conflict, Unprocessable
from fleetcast.model.ids import MachineId
from fleetcast.model.limits import LABELS_PUBLISHED_AT_ONCE_MAX, REPORTED_MACHINE_BYTES
from fleetcast.model.machine import GivenLabels, Machine, given_labels
from fleetcast.rollouts.inventory import known_machine
from fleetcast.schema.machine_tables import machine_labels
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
        Invalid: a label that cannot be given.
        Unprocessable: they are too long together with those of the machine itself.
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
        raise Unprocessable(
            "labels_too_long", f"zone, rack and labels of {machine} would have more than {most} bytes: shorten them"
        )
    row = {"machine": machine, "labels": wanted, "updated_at": await read_clock_ms(tx), "published": False}
    await upsert(tx, machine_labels, [row], update=["labels", "updated_at", "published"])
    log.info("machine_labelled", machine=machine, labels=wanted)


async def publish(database: Database, kv: KeyValueStore) -> None:
    """Bring what was given since into the KV, some at a time: deployments are not kept waiting. Safe to run in several
    processes at once."""
    async with database.reading() as reading:
        fresh = select(machine_labels.c.machine).where(machine_labels.c.published.is_(False))
        machines = (await reading.execute(fresh.limit(LABELS_PUBLISHED_AT_ONCE_MAX))).scalars().all()
    for machine in machines:
        with contextlib.suppress(Conflict):  # another process writes it: what is not published then is so at the next turn
            await _publish_one(database, kv, MachineId(machine))


async def restore(database: Database, kv: KeyValueStore) -> None:
    """Mark what the KV has lost or holds otherwise to be published, what SQL does not know as empty (a restored backup)."""
    prefix = labels_key(MachineId(""))
    held = {MachineId(entry.key.removeprefix(prefix)): entry.value for entry in (await kv.range(prefix)).entries}
    async with database.reading() as reading:
        rows = (await reading.execute(select(machine_labels.c.machine, machine_labels.c.labels))).all()
    known = {MachineId(row.machine): row.labels for row in rows}
    differing = [machine for machine, labels in known.items() if held.get(machine) != _value(machine, labels)]
    unknown = [machine for machine, value in held.items() if machine not in known and value != _value(machine, {})]
    if differing or unknown:
        async with database.transaction() as tx:
            now = await read_clock_ms(tx)
            for machine in (*differing, *unknown):
                row = {"machine": machine, "labels": {}, "updated_at": now, "published": False}
                await upsert(tx, machine_labels, [row], update=["published"])
        log.info("labels_restored", differing=len(differing), unknown=len(unknown))


async def _publish_one(database: Database, kv: KeyValueStore, machine: MachineId) -> None:
    """The KV is looked at before SQL: whoever writes it after that look wrote something newer, and this write loses."""
    key = labels_key(machine)
    entry = await kv.get(key)
    async with database.reading() as reading:
        row = (await reading.execute(select(machine_labels).where(machine_labels.c.machine == machine))).one()
    # Empty ones too: that labels are taken away is said in so many words, what is missing in the KV was only lost.
    value = _value(machine, row.labels)
    if entry is None or entry.value != value:
        await kv.put(key, value, expected=0 if entry is None else entry.mod_revision)
    unchanged = machine_labels.c.updated_at == row.updated_at, machine_labels.c.labels == row.labels
    async with database.transaction() as tx:
        await tx.execute(update(machine_labels).where(machine_labels.c.machine == machine, *unchanged).values(published=True))


def _value(machine: MachineId, labels: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(GivenLabels(machine, labels), order="deterministic")
