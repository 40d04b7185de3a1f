"""Control's database, where it is a server: whether it lets us in, and is one that we can use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from fleetcast.cli.doctor.checks import Check, fail, ok, warn
from fleetcast.model.errors import FleetcastError

if TYPE_CHECKING:
    from fleetcast.launch.settings import Settings

VERSION_MIN: Final = 14
"""Of PostgreSQL: the oldest that its makers still kept when this was written."""
_SQLITE: Final = "sqlite"
_BYTEWISE: Final = ("C", "POSIX", "C.UTF-8", "C.utf8")
_ABOUT: Final = (
    "SELECT current_setting('server_version'), pg_is_in_recovery(), datcollate "
    "FROM pg_database WHERE datname = current_database()"
)


def database(settings: Settings) -> Iterator[Check]:
    """All there is to say about it; nothing about the embedded one, which is a file (``installation.py``)."""
    from fleetcast.launch.database import database_address

    if settings.control is None:
        return
    try:
        url = database_address(settings.control)
        if not url.startswith(_SQLITE):
            yield asyncio.run(_look(url))
    except FleetcastError as error:
        yield fail("database", error.message, "fleetcast settings shows what holds, docs/operations.md how to set one up")


async def _look(url: str) -> Check:
    from sqlalchemy import text

    from fleetcast.stores.database import Database, database_url
    from fleetcast.stores.postgresql_errors import place

    where = place(database_url(url))
    opened = await Database.open(url)
    try:
        async with opened.reading() as reading:
            version, standby, collation = (await reading.execute(text(_ABOUT))).one()
            free = await reading.execute(
                text("SELECT current_setting('max_connections')::int - (SELECT count(*) FROM pg_stat_activity)")
            )
            left = int(free.scalar_one())
    finally:
        await opened.close()
    says = f"PostgreSQL {version}, {where}"
    if standby:
        return fail("database", f"{says} is a standby: it takes no writes", "correct the URL in the settings")
    if int(version.partition(".")[0]) < VERSION_MIN:
        return warn("database", says, f"use PostgreSQL {VERSION_MIN} or newer: nothing older was tried")
    if collation not in _BYTEWISE:
        return warn("database", f"{says} puts names in the order of {collation}", "make the database anew with LOCALE 'C'")
    return ok("database", f"{says}, {left} connections left")
