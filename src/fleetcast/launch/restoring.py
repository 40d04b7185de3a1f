"""Taking a backup of what settings name, and restoring one into it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Connection, select

from fleetcast.backups.history import Begun, begin_history
from fleetcast.backups.keys import add_missing, held_by
from fleetcast.backups.lines import Footer
from fleetcast.backups.restoring import Verified, restore_tables
from fleetcast.backups.taking import take_backup
from fleetcast.launch.database import database_address
from fleetcast.launch.engines import existing_database, has_kv, opened_blobs, opened_kv
from fleetcast.launch.settings import ControlSettings, RegionSettings, Settings
from fleetcast.model.errors import FleetcastError, Refused
from fleetcast.model.limits import HTTP_CONNECT_S_MAX
from fleetcast.schema.tables import artifacts, goals


@dataclass(frozen=True, slots=True)
class Restored:
    rows: int
    keys: int
    """Of the key-value store: those that were missing there."""
    epoch: int
    builds_requeued: int
    deployments_unfinished: int
    goals: int
    """Services whose machines are told again what they should run."""
    unknown_services: Sequence[str]
    """Deployed for the first time since the backup: machines keep what they run of them."""
    without_blobs: Sequence[str]
    """Artifacts that the main store has not got."""


async def backup(control: ControlSettings, path: Path) -> Footer:
    """Raises as :func:`take_backup`, and as the engines do."""
    async with existing_database(control) as database, opened_kv(control) as kv:
        return await take_backup(database, kv, path)


async def restore(settings: Settings, control: ControlSettings, backup: Verified, *, replace: bool) -> Restored:
    """Raises as :func:`restore_tables`, and as the engines do."""
    refuse_listening(control)
    control.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    taken = datetime.fromtimestamp(backup.header.taken_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    begun: list[Begun] = []
    async with opened_kv(control) as kv:
        held = await held_by(kv)
        seen = max(held.epoch, await _seen_by_regions(settings))

        def begin(connection: Connection, before: int) -> None:
            history = begin_history(
                connection,
                taken_at_ms=backup.header.taken_at_ms,
                seen_epoch=max(seen, before),
                labels_lost=not held.labels,
                source=f"from a backup of {taken}",
            )
            begun.append(history)

        await asyncio.to_thread(restore_tables, database_address(control), backup, replace=replace, afterwards=begin)
        # Whatever ends us from here on: control writes the same when it starts.
        added = await add_missing(kv, (entry for table, entry in backup.entries() if table is None))
    known, missing = await _compared(control)
    return Restored(
        rows=backup.rows,
        keys=added,
        epoch=begun[0].epoch,
        builds_requeued=begun[0].requeued,
        deployments_unfinished=begun[0].unfinished,
        goals=begun[0].goals,
        unknown_services=sorted(service for service, _ in held.goals - known),
        without_blobs=missing,
    )


def refuse_listening(holder: ControlSettings | RegionSettings) -> None:
    """Raises :class:`Refused` where something answers at the address of control, or of a region: a program of before does not
    say in its database that it runs, and a region has none.
    """
    who = f"region {holder.name}" if isinstance(holder, RegionSettings) else "control"
    at = urlsplit(holder.public_url)
    try:
        socket.create_connection((at.hostname or "", at.port or 0), HTTP_CONNECT_S_MAX).close()
    except (OSError, ValueError):
        return
    code = f"{who.partition(' ')[0]}_running"
    raise Refused(code, f"something answers at {holder.public_url}, {who}'s address: stop {who}, and do this again then")


async def _seen_by_regions(settings: Settings) -> int:
    """The highest epoch of a goal that a region of these settings holds. One that cannot be asked has not seen the future."""
    epoch = 0
    for region in settings.regions:
        with contextlib.suppress(FleetcastError):
            if has_kv(region):
                async with opened_kv(region) as kv:
                    epoch = max(epoch, (await held_by(kv)).epoch)
    return epoch


async def _compared(control: ControlSettings) -> tuple[set[tuple[str, str]], Sequence[str]]:
    """Services and environments that the database knows now, and artifacts whose blobs the main store has not got."""
    async with existing_database(control) as database, database.reading() as reading:
        known = {(row.service, row.environment) for row in await reading.execute(select(goals.c.service, goals.c.environment))}
        columns = (artifacts.c.name, artifacts.c.content_blob, artifacts.c.manifest_blob)
        rows = (await reading.execute(select(*columns).order_by(artifacts.c.id))).all()
    with opened_blobs(control) as main:
        there = {blob.key async for blob in main.list("builds/")}
    return known, [row.name for row in rows if not {row.content_blob, row.manifest_blob} <= there]
