"""The three settings in which every contestant is measured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum

import psycopg

from bench.queue.contestant import Contestant
from bench.queue.rate import rate


class Setting(StrEnum):
    FRESH = "fresh"
    """Jobs that wait, and nothing else."""
    MILLION_ROWS = "million_rows"
    """And a history of so many as were asked for, a million unless said otherwise."""
    HELD_TRANSACTION = "held_transaction"
    """And somebody's transaction that has been open since before the first claim: nothing that is dead can be cleaned up."""


async def prepare(contestant: Contestant, setting: Setting, url: str, *, waiting: int, history: int) -> None:
    """Fill a database that is empty yet."""
    await contestant.install(url)
    if setting is Setting.MILLION_ROWS:
        await contestant.add_finished(url, history)
    await contestant.add_waiting(url, waiting)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("VACUUM ANALYZE")


async def measured(contestant: Contestant, setting: Setting, url: str, *, callers: int, seconds: float) -> float:
    """Cycles per second in a database that was prepared."""
    async with _held(url, setting is Setting.HELD_TRANSACTION):
        return await rate(contestant, url, callers, seconds)


@asynccontextmanager
async def _held(url: str, wanted: bool) -> AsyncIterator[None]:
    """Around what happens while a transaction keeps its snapshot, if it is ``wanted``."""
    if not wanted:
        yield
        return
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        await connection.execute("SELECT count(*) FROM pg_class")
        yield
