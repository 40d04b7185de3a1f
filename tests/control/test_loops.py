"""The loop under control's loops."""

from __future__ import annotations

import asyncio

import pytest

from fleetcast.control.loops import regularly
from fleetcast.model.errors import Unavailable


async def test_a_step_that_fails_is_taken_again_until_it_is_stopped() -> None:
    stop, taken = asyncio.Event(), 0

    async def step() -> None:
        nonlocal taken
        taken += 1
        if taken == 1:
            raise Unavailable("database_busy", "the database is busy")
        stop.set()

    async with asyncio.timeout(10):
        await regularly("test", step, 0.001, stop)
    assert taken == 2


async def test_a_stop_ends_the_wait_for_the_next_step() -> None:
    stop, stepped = asyncio.Event(), asyncio.Event()

    async def step() -> None:
        stepped.set()

    loop = asyncio.create_task(regularly("test", step, 3600, stop))
    async with asyncio.timeout(10):
        await stepped.wait()
        stop.set()
        await loop


async def test_a_defect_is_not_tried_again() -> None:
    async def step() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await regularly("test", step, 0.001, asyncio.Event())
