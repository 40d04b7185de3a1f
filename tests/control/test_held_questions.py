"""Regions' questions about the key-value store: held until something changes, and never too many of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fleetcast.control import process
from fleetcast.http.tokens import Role
from fleetcast.model.ids import MachineId
from fleetcast.model.limits import KV_WAIT_S_MAX
from fleetcast.model.messages.fleet import LabelsRequest

SOON_S = 30.0
LABELS = "labels/"


@pytest.mark.one_engine
async def test_who_asks_when_all_places_are_taken_is_answered_at_once(control: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "KV_HELD_MAX", 2)
    async with control() as installation:
        asker = (await installation.region()).client
        admin = await installation.client(Role.ADMIN)

        async def label(rack: str) -> None:
            await admin.label(MachineId("m1"), LabelsRequest({"rack": rack}))

        async def revision(rack: str) -> int:
            """Of what was written with that label."""
            while True:  # each a round trip
                page = await asker.kv_page(LABELS, 0)
                if any(f'"{rack}"' in entry.value for entry in page.entries):
                    return page.revision

        await label("a")
        for before, rack in (("a", "b"), ("b", "c")):  # places are given back
            after = await asyncio.wait_for(revision(before), SOON_S)
            asked = [asyncio.create_task(asker.kv_page(LABELS, after, KV_WAIT_S_MAX)) for _ in range(3)]
            done, held = await asyncio.wait(asked, timeout=SOON_S, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result().entries for task in done] == [()]
            await label(rack)
            told = await asyncio.wait_for(asyncio.gather(*held), SOON_S)
            assert [[entry.key for entry in page.entries] for page in told] == [["labels/m1"]] * 2
