"""Calls that share a transaction: each has an answer of its own, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fleetcast.builds.gathering import Gathered

SOON_S = 5.0


async def test_who_leaves_holds_up_nobody_who_shared_the_transaction() -> None:
    handed_back, may_hand_back, carry_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def carry_out(items: Sequence[str]) -> Sequence[str | Exception]:
        await carry_on.wait()
        return [item.upper() for item in items]

    async def lost(item: str, answer: str) -> None:
        await may_hand_back.wait()
        handed_back.set()

    gathered = Gathered(carry_out, 10, lost)
    leaves, stays = (asyncio.create_task(gathered.ask(item)) for item in ("leaves", "stays"))
    for _ in range(5):
        await asyncio.sleep(0)  # both are being carried out by now
    leaves.cancel()
    carry_on.set()
    async with asyncio.timeout(SOON_S):
        assert await stays == "STAYS"
        may_hand_back.set()
        await handed_back.wait()


async def test_what_telling_of_a_lost_answer_raises_reaches_nobody() -> None:
    carry_on, told = asyncio.Event(), list[str]()

    async def carry_out(items: Sequence[str]) -> Sequence[str | Exception]:
        await carry_on.wait()
        return [item.upper() for item in items]

    async def lost(item: str, answer: str) -> None:
        told.append(item)
        raise ZeroDivisionError

    gathered = Gathered(carry_out, 2, lost)
    first, second, third = (asyncio.create_task(gathered.ask(item)) for item in ("first", "second", "third"))
    for _ in range(5):
        await asyncio.sleep(0)  # two are being carried out by now, the third waits for the next transaction
    first.cancel()
    second.cancel()
    carry_on.set()
    async with asyncio.timeout(SOON_S):
        assert await third == "THIRD"
        assert told == ["first", "second"]
        assert await gathered.ask("fourth") == "FOURTH"
