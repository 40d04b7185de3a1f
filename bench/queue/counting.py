"""What a server is asked, by its own log."""

from __future__ import annotations

import asyncio
import time

from fleetcast.cli.demo.engines.postgres import PostgresServer


async def queries_per_s(server: PostgresServer, seconds: float) -> float:
    """Messages with statements that clients send it, in so many seconds from now on: BEGIN and COMMIT count, too."""
    log = server.directory / "server.log"
    await asyncio.to_thread(_log_statements, server, "all")
    offset, began_at = log.stat().st_size, time.monotonic()
    await asyncio.sleep(seconds)
    with log.open("rb") as file:
        file.seek(offset)
        told = file.read()
    took_s = time.monotonic() - began_at
    await asyncio.to_thread(_log_statements, server, "none")
    return (told.count(b"LOG:  statement: ") + told.count(b"LOG:  execute ")) / took_s


def _log_statements(server: PostgresServer, which: str) -> None:
    """Sessions that are open hear of it, too."""
    with server.administrator() as connection:
        connection.execute(f"ALTER SYSTEM SET log_statement = '{which}'".encode())
        connection.execute("SELECT pg_reload_conf()")
