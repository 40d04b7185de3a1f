"""Long polls: woken by a ring, ended by the deadline, by the stop, or by the caller who left."""

from __future__ import annotations

import asyncio

import pytest
from litestar.types import HTTPReceiveMessage

from fleetcast.http.holding import Bell, caller_gone, hold

FOREVER_S = 60.0


class Shelf:
    """Something to look for. Tells when it was looked at."""

    def __init__(self) -> None:
        self.thing: str | None = None
        self.looks = 0
        self.looked = asyncio.Event()

    async def look(self) -> str | None:
        self.looks += 1
        self.looked.set()
        return self.thing


async def test_what_is_there_is_answered_at_once() -> None:
    shelf = Shelf()
    shelf.thing = "build 1"
    assert await hold(Bell(), shelf.look, wait_s=0, poll_s=FOREVER_S) == "build 1"


async def test_a_ring_wakes_everybody_who_waits() -> None:
    shelf, bell = Shelf(), Bell()
    held = [asyncio.create_task(hold(bell, shelf.look, wait_s=FOREVER_S, poll_s=FOREVER_S)) for _ in range(3)]
    await asyncio.wait_for(shelf.looked.wait(), 5)
    shelf.thing = "build 1"
    bell.ring()
    assert await asyncio.wait_for(asyncio.gather(*held), 5) == ["build 1"] * 3


async def test_a_ring_during_the_look_is_not_lost() -> None:
    bell, found = Bell(), iter([None, "late"])

    async def look() -> str | None:
        answer = next(found)
        if answer is None:
            bell.ring()
        return answer

    assert await asyncio.wait_for(hold(bell, look, wait_s=FOREVER_S, poll_s=FOREVER_S), 5) == "late"


async def test_what_changes_unheard_is_found_by_polling() -> None:
    shelf = Shelf()
    held = asyncio.create_task(hold(Bell(), shelf.look, wait_s=FOREVER_S, poll_s=0.01))
    await asyncio.wait_for(shelf.looked.wait(), 5)
    shelf.thing = "by another process"
    assert await asyncio.wait_for(held, 5) == "by another process"


async def test_the_wait_ends() -> None:
    shelf = Shelf()
    assert await asyncio.wait_for(hold(Bell(), shelf.look, wait_s=0.05, poll_s=FOREVER_S), 5) is None
    assert shelf.looks == 2  # also once more at the end


async def test_a_closed_bell_ends_every_wait() -> None:
    shelf, bell = Shelf(), Bell()
    held = asyncio.create_task(hold(bell, shelf.look, wait_s=FOREVER_S, poll_s=FOREVER_S))
    await asyncio.wait_for(shelf.looked.wait(), 5)
    bell.close()
    assert await asyncio.wait_for(held, 5) is None
    assert await asyncio.wait_for(hold(bell, shelf.look, wait_s=FOREVER_S, poll_s=FOREVER_S), 5) is None


async def test_nothing_is_taken_for_a_caller_who_left() -> None:
    shelf, bell, left = Shelf(), Bell(), asyncio.Event()
    held = asyncio.create_task(hold(bell, shelf.look, wait_s=FOREVER_S, poll_s=FOREVER_S, abandoned=left.is_set))
    await asyncio.wait_for(shelf.looked.wait(), 5)
    left.set()
    shelf.thing = "build 1"
    bell.ring()
    assert await asyncio.wait_for(held, 5) is None
    assert shelf.looks == 1


async def test_closing_cancels_work_that_would_go_on() -> None:
    bell, started, cancelled = Bell(), asyncio.Event(), asyncio.Event()

    async def watch() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    held = asyncio.create_task(bell.until_closed(watch()))
    await asyncio.wait_for(started.wait(), 5)
    bell.ring()
    bell.close()
    assert await asyncio.wait_for(held, 5) is None
    assert cancelled.is_set()


async def test_work_that_ends_first_is_answered_and_its_error_raised() -> None:
    async def good() -> int:
        return 7

    async def bad() -> int:
        raise ValueError("no")

    assert await Bell().until_closed(good()) == 7
    with pytest.raises(ValueError, match="no"):
        await Bell().until_closed(bad())


async def test_a_disconnect_is_noticed() -> None:
    events: asyncio.Queue[HTTPReceiveMessage] = asyncio.Queue()
    shelf = Shelf()
    async with caller_gone(events.get) as gone:
        held = asyncio.create_task(hold(Bell(), shelf.look, wait_s=FOREVER_S, poll_s=0.01, abandoned=gone))
        events.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        await asyncio.wait_for(shelf.looked.wait(), 5)
        assert not gone()
        events.put_nowait({"type": "http.disconnect"})
        assert await asyncio.wait_for(held, 5) is None
