"""A trigger's key, on each engine: what it names is made once."""

from __future__ import annotations

import pytest

from fleetcast.model.errors import KeyReused
from fleetcast.schema.idempotency import RequestKey, once
from fleetcast.stores.database import Database

KEY = RequestKey("deploy", "monday", "of this")


async def test_what_came_before_is_shown_and_not_made_again(database_url: str) -> None:
    database, made = await Database.open(database_url), 0

    async def trigger() -> str:
        nonlocal made
        made += 1
        return f"number {made}"

    async def asked(key: RequestKey | None) -> str:
        async with database.transaction() as tx:
            return await once(tx, key, trigger)

    try:
        assert [await asked(KEY) for _ in range(2)] == ["number 1", "number 1"]
        with pytest.raises(KeyReused, match="another request"):
            await asked(RequestKey("deploy", "monday", "of that"))
        assert await asked(RequestKey("build", "monday", "of that")) == "number 2", "keys are of one operation"
        assert [await asked(None) for _ in range(2)] == ["number 3", "number 4"]
    finally:
        await database.close()
