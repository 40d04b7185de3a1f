"""Tables and keys from the engines of now into others. The history stays the same one, so generations, numbers and epochs stay
as they are; only what processes held when they were stopped is void, since uploads do not come along.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
from sqlalchemy import Connection, insert, inspect, select

from fleetcast.backups.history import void_attempts
from fleetcast.backups.lines import Footer
from fleetcast.backups.restoring import Verified, restore_tables, rows_there, running_refused
from fleetcast.backups.taking import every_entry
from fleetcast.model.errors import Conflict, Refused
from fleetcast.schema.installation_tables import origins
from fleetcast.schema.origins import OriginKind
from fleetcast.schema.upgrade import schema_transaction
from fleetcast.stores.database import now_ms
from fleetcast.stores.kv import KeyValueStore

_REQUEUED = "moved to other engines: its attempt is void"


def check_target(address: str) -> None:
    """Raises :class:`Refused` for a database that is in use, or has something in it that no move can have left there."""
    with schema_transaction(address) as connection:
        running_refused(connection)
        full = rows_there(connection)
        if full and not _moved_here(connection):
            raise Refused("not_empty", f"the new database has something in it already ({full}): use a new one")


def move_tables(address: str, backup: Verified, unchanged: Callable[[], None]) -> int | None:
    """Fill the database at the URL ``address``, all or nothing. ``unchanged`` is asked last, and raises where the backup may be
    old by then. How many builds ran and are queued again; ``None``: all of it was moved here before. Blocking; raises as
    :func:`restore_tables`.
    """
    sums = _sums(backup.footer)
    with schema_transaction(address) as connection:
        if sums in _moved_here(connection):
            return None
    requeued = 0

    def note(connection: Connection, _epoch: int) -> None:
        nonlocal requeued
        requeued = void_attempts(connection, _REQUEUED)
        connection.execute(insert(origins).values(kind=OriginKind.MOVED, at=now_ms(), text=sums))
        unchanged()

    restore_tables(address, backup, replace=False, afterwards=note)
    return requeued


async def check_keys(source: KeyValueStore, target: KeyValueStore) -> None:
    """Raises :class:`Refused` where ``target`` has a key that ``source`` has not, or another value of one."""
    async for entry in every_entry(target):
        there = await source.get(entry.key)
        if there is None or there.value != entry.value:
            raise _foreign(entry.key)


async def move_keys(source: KeyValueStore, target: KeyValueStore) -> int:
    """Returns how many there are. What is there already with the same value stays; raises :class:`Refused` for another one."""
    count = 0
    async for entry in every_entry(source):
        try:
            await target.put(entry.key, entry.value, expected=0)
        except Conflict:
            there = await target.get(entry.key)
            if there is None or there.value != entry.value:
                raise _foreign(entry.key) from None
        count += 1
    return count


def _moved_here(connection: Connection) -> tuple[str, ...]:
    """Sums of what was moved into a database."""
    if not inspect(connection).has_table(origins.name):
        return ()
    return tuple(connection.execute(select(origins.c.text).where(origins.c.kind == OriginKind.MOVED)).scalars())


def _sums(footer: Footer) -> str:
    """Says which rows were moved, to find them there again."""
    return hashlib.sha256(msgspec.json.encode(footer.tables, order="deterministic")).hexdigest()


def _foreign(key: str) -> Refused:
    return Refused("not_empty", f"the new key-value store has a key {key} of somebody else's: use another prefix or cluster")
