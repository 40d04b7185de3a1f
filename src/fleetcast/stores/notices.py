"""Telling other processes at a database that something is there for them: PostgreSQL's NOTIFY.

A notice is part of its transaction, so nobody hears of what is not there yet, or never will be. It may be lost, with the
connection of who listens or behind a pooler: whoever waits for one looks now and then as well. The embedded engine has none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy import URL, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.limits import NOTICE_RETRY_S, NOTICE_RETRY_S_MAX
from fleetcast.stores.database import database_url

if TYPE_CHECKING:
    import psycopg

log = structlog.get_logger(__name__)

POSTGRESQL: Final = "postgresql"


async def notify(tx: AsyncConnection, channel: str) -> None:
    """Have whoever listens to ``channel`` told when ``tx`` is committed. Several in one transaction are one."""
    if tx.dialect.name == POSTGRESQL:
        await tx.execute(select(func.pg_notify(channel, "")))


async def listen(address: str, channel: str, heard: Callable[[], None], stop: asyncio.Event) -> None:
    """Call ``heard`` at every notice on ``channel``, and whenever some may have been missed, until ``stop``.

    Keeps one connection to the database at the URL ``address`` for itself; one that is lost is made anew, after pauses that
    grow. Returns at once for an engine without notices.
    """
    url = database_url(address)
    if url.get_backend_name() != POSTGRESQL:
        return
    listening = asyncio.create_task(_listen_for_ever(url, channel, heard))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({listening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if listening.done():  # it never returns: a defect
            listening.result()
    finally:
        for task in (listening, stopping):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _listen_for_ever(url: URL, channel: str, heard: Callable[[], None]) -> None:
    import psycopg

    from fleetcast.stores import postgresql_errors

    pause_s = NOTICE_RETRY_S
    while True:
        try:
            async with await _connect(url) as connection:
                await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
                log.info("listening_for_notices", channel=channel, database=postgresql_errors.place(url))
                pause_s = NOTICE_RETRY_S
                heard()  # what came while nobody listened
                async for _ in connection.notifies():
                    heard()
        except psycopg.Error as error:
            found = postgresql_errors.obstacle(error, url)
            log.warning("not_listening_for_notices", error=type(error).__name__ if found is None else found.message)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, NOTICE_RETRY_S_MAX)


async def _connect(url: URL) -> psycopg.AsyncConnection:
    import psycopg

    from fleetcast.stores.postgresql_engine import connect_arguments

    address = url.set(drivername=POSTGRESQL).render_as_string(hide_password=False)
    return await psycopg.AsyncConnection.connect(address, autocommit=True, **connect_arguments())
