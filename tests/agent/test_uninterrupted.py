"""Work that is long, and of which a cancellation leaves less."""

from __future__ import annotations

import asyncio

import pytest

from fleetcast.agent.uninterrupted import in_time, to_the_end

NEVER_S = 3600.0


async def test_what_ends_by_itself_has_ended_whether_there_is_a_hurry_or_not() -> None:
    hurry, said = asyncio.Event(), list[str]()

    async def work() -> None:
        said.append("done")

    assert await in_time(work(), hurry, NEVER_S)
    hurry.set()
    assert await in_time(work(), hurry, NEVER_S)
    assert said == ["done", "done"]


async def test_what_goes_wrong_goes_wrong_for_who_waits() -> None:
    async def work() -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        await in_time(work(), asyncio.Event(), NEVER_S)


async def test_once_its_caller_is_cancelled_long_work_is_cut_short_and_what_follows_it_is_done() -> None:
    hurry, begun, said = asyncio.Event(), asyncio.Event(), list[str]()

    async def long() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            said.append("cut short")

    async def work() -> None:
        said.append(str(await in_time(long(), hurry, 0.0)))
        said.append("what follows")

    caller = asyncio.create_task(to_the_end(work(), hurry))
    await begun.wait()
    assert said == []
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert said == ["cut short", "False", "what follows"]
