"""Databases with a key-value store beside each, closed with the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from filled_tables import Store
from fleetcast.stores.database import Database
from fleetcast.stores.sqlite_kv import SqliteKv


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Callable[[str], Awaitable[Store]]]:
    """Opens a database by its URL, with a key-value store of its own beside it."""
    stores: list[Store] = []

    async def open_one(url: str) -> Store:
        kv = await SqliteKv.open(tmp_path / f"kv-{len(stores)}.db")
        stores.append(Store(url, await Database.open(url), kv))
        return stores[-1]

    yield open_one
    for store in stores:
        await store.database.close()
        await store.kv.close()
