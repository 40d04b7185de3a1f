"""A line of callers for things that only one can have each: few looks, none lost."""

from __future__ import annotations

import asyncio

from fleetcast.http.holding import Line

FOREVER_S = 60.0


class Shelf:
    """Things that are taken away one by one. Counts the looks."""

    def __init__(self) -> None:
        self.things = 0
        self.looks = 0

    async def take(self) -> str | None:
        self.looks += 1
        await asyncio.sleep(0)  # as a look into a database: others get their turn meanwhile
        if not self.things:
            return None
        self.things -= 1
        return "thing"


async def turns() -> None:
    """Until everybody has done what can be done now."""
    for _ in range(50):
        await asyncio.sleep(0)


def waiting(line: Line, shelf: Shelf, count: int) -> list[asyncio.Task[str | None]]:
    return [asyncio.create_task(line.hold(shelf.take, wait_s=FOREVER_S)) for _ in range(count)]


async def ended(held: list[asyncio.Task[str | None]]) -> None:
    for each in held:
        each.cancel()
    await asyncio.gather(*held, return_exceptions=True)


async def test_one_thing_costs_a_few_looks_however_many_wait() -> None:
    line, shelf = Line(), Shelf()
    held = waiting(line, shelf, 100)
    await turns()
    shelf.looks, shelf.things = 0, 1
    line.ring()
    await turns()
    assert [each.done() for each in held] == [True, *[False] * 99], "who has waited longest has it"
    assert shelf.looks == 3
    await ended(held)


async def test_one_ring_is_enough_for_many_things() -> None:
    line, shelf = Line(), Shelf()
    held = waiting(line, shelf, 30)
    await turns()
    shelf.things = 20
    line.ring()
    await turns()
    assert sum(each.done() for each in held) == 20
    assert shelf.things == 0
    await ended(held)


async def test_a_ring_during_the_look_is_not_lost() -> None:
    line, things, may_answer = Line(), ["nothing yet"], asyncio.Event()

    async def look() -> str | None:
        seen = things[-1]
        await may_answer.wait()
        return seen if seen == "thing" else None

    held = asyncio.create_task(line.hold(look, wait_s=FOREVER_S))
    await turns()
    things.append("thing")
    line.ring()
    may_answer.set()
    async with asyncio.timeout(5):
        assert await held == "thing"


async def test_whose_turn_it_was_when_he_left_passes_it_on() -> None:
    line, shelf = Line(), Shelf()
    held = waiting(line, shelf, 3)
    await turns()
    shelf.things = 1
    line.ring()
    held[0].cancel()
    await turns()
    assert [each.done() for each in held] == [True, True, False]
    assert held[0].cancelled()
    await ended(held)


async def test_a_caller_who_is_gone_takes_nothing_and_passes_it_on() -> None:
    line, shelf, gone = Line(), Shelf(), False
    first = asyncio.create_task(line.hold(shelf.take, wait_s=FOREVER_S, abandoned=lambda: gone))
    await turns()
    (second,) = waiting(line, shelf, 1)
    await turns()
    gone, shelf.things = True, 1
    line.ring()
    async with asyncio.timeout(5):
        assert (await first, await second) == (None, "thing")


async def test_who_leaves_in_the_middle_of_a_look_passes_it_on() -> None:
    line, shelf, looking = Line(), Shelf(), asyncio.Event()

    async def look_for_ever() -> str | None:
        if shelf.things:
            looking.set()
            await asyncio.Event().wait()
        return None

    leaves = asyncio.create_task(line.hold(look_for_ever, wait_s=FOREVER_S))
    await turns()
    (last,) = waiting(line, shelf, 1)
    await turns()
    shelf.things = 1
    line.ring()
    await looking.wait()
    leaves.cancel()
    async with asyncio.timeout(5):
        assert await last == "thing"
    await ended([leaves])


async def test_the_wait_is_over_and_leaves_no_place_in_line() -> None:
    line, shelf = Line(), Shelf()
    assert await line.hold(shelf.take, wait_s=0.01) is None
    held = waiting(line, shelf, 1)
    await turns()
    shelf.things = 1
    line.ring()
    async with asyncio.timeout(5):
        assert await held[0] == "thing"


async def test_a_line_that_is_closed_holds_nobody() -> None:
    line, shelf = Line(), Shelf()
    held = waiting(line, shelf, 3)
    await turns()
    line.close()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*held) == [None] * 3
        assert await line.hold(shelf.take, wait_s=FOREVER_S) is None
