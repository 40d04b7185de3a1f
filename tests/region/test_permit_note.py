"""For how long a region process that starts believes that permits of the one before may hold, whatever clocks do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleetcast.region.permit_note import PermitNote
from fleetcast.stores.kv import KeyValueStore
from fleetcast.stores.sqlite_kv import SqliteKv

LIFETIME_S = 300.0
UP_MS = 5_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[KeyValueStore]:
    store = await SqliteKv.open(tmp_path / "kv.db")
    yield store
    await store.close()


async def test_one_that_never_gave_a_permit_does_not_wait(store: KeyValueStore) -> None:
    assert await PermitNote(store, LIFETIME_S, "boot").remaining_s(UP_MS) == 0


@pytest.mark.parametrize(("later_s", "remaining_s"), [(0, 600), (10, 590), (599, 1), (601, 0)])
async def test_in_the_same_boot_the_rest_is_waited_for(store: KeyValueStore, later_s: int, remaining_s: int) -> None:
    await PermitNote(store, LIFETIME_S, "boot").cover(UP_MS)
    assert await PermitNote(store, LIFETIME_S, "boot").remaining_s(UP_MS + later_s * 1000) == remaining_s


async def test_after_another_boot_a_lifetime_is_waited_for(store: KeyValueStore) -> None:
    """How long the host was away nobody can tell, its clock least of all."""
    await PermitNote(store, LIFETIME_S, "boot").cover(10**12)
    assert await PermitNote(store, LIFETIME_S, "another").remaining_s(0) == LIFETIME_S


async def test_every_permit_is_covered_and_few_are_written(store: KeyValueStore) -> None:
    note = PermitNote(store, LIFETIME_S, "boot")
    written = set()
    for given_ms in range(0, 3_600_000, 10_000):
        await note.cover(given_ms)
        entry = await store.get("permits/until_ms")
        assert entry is not None
        written.add(entry.value)
        assert await PermitNote(store, LIFETIME_S, "boot").remaining_s(given_ms) >= LIFETIME_S
    assert len(written) <= 3600 / LIFETIME_S + 1
