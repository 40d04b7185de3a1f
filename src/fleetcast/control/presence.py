"""A control process says in its database that it runs, for whoever must not touch that meanwhile, and for the doctor.

It also notices when the database was replaced under it, by a restored backup: what it remembers is of another history
then, and it ends. Its writes were refused before that already: they name tokens that are void there (law 1).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import Final

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast import __version__
from fleetcast.model.errors import FleetcastError, Stale
from fleetcast.model.limits import CONTROL_FORGOTTEN_S, CONTROL_SEEN_INTERVAL_S
from fleetcast.model.messages.diagnosis import ControlDiagnosis
from fleetcast.model.protocol import PROTOCOL
from fleetcast.schema.installation_tables import control_processes
from fleetcast.schema.origins import last_origin
from fleetcast.schema.upsert import upsert
from fleetcast.stores.database import Database, now_ms, read_clock_ms

log = structlog.get_logger(__name__)

_ID_BYTES: Final = 16


async def seen(reading: AsyncConnection) -> tuple[ControlDiagnosis, ...]:
    """Control processes that said that they run, and not that they end; those that were seen last come first."""
    now = await read_clock_ms(reading)
    rows = await reading.execute(select(control_processes).order_by(control_processes.c.seen_at.desc(), control_processes.c.id))
    return tuple(ControlDiagnosis(row.place, row.version, row.clock_ahead_ms, max(0, now - row.seen_at) / 1000) for row in rows)


class Presence:
    """For one process, which calls :meth:`begin` before it does anything else, and then runs :meth:`run`."""

    def __init__(self, database: Database, place: str) -> None:
        self._database = database
        self._place = place
        self._id = secrets.token_hex(_ID_BYTES)
        self._origin = 0

    async def begin(self) -> None:
        """From here on, what is in the database is what this process goes on with."""
        async with self._database.reading() as reading:
            origin = await last_origin(reading)
        self._origin = 0 if origin is None else origin.id
        await self._say()

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``. Raises :class:`Stale` when the database has become another one."""
        while not stop.is_set():
            try:
                await self._say()
            except Stale:
                raise
            except (FleetcastError, SQLAlchemyError) as error:
                log.warning("presence_not_told", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONTROL_SEEN_INTERVAL_S):
                    await stop.wait()
        with contextlib.suppress(FleetcastError, SQLAlchemyError):
            async with self._database.concurrent() as tx:
                await tx.execute(delete(control_processes).where(control_processes.c.id == self._id))

    async def _say(self) -> None:
        async with self._database.concurrent() as tx:
            origin = await last_origin(tx)
            if (0 if origin is None else origin.id) != self._origin:
                raise Stale("database_replaced", "the database was replaced while this control process ran: start it again")
            now = await read_clock_ms(tx)
            ahead_ms = round(time.time() * 1000) - now
            known = select(control_processes.c.started_at).where(control_processes.c.id == self._id)
            row = {
                "id": self._id,
                "place": self._place,
                "version": __version__,
                "protocol": PROTOCOL,
                "started_at": (await tx.execute(known)).scalar_one_or_none() or now,
                "seen_at": now,
                "clock_ahead_ms": ahead_ms,
            }
            await upsert(tx, control_processes, [row], update=["seen_at", "clock_ahead_ms"])
            gone = control_processes.c.seen_at < now_ms() - CONTROL_FORGOTTEN_S * 1000
            await tx.execute(delete(control_processes).where(gone))
