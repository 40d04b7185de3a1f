"""Steps that a cancellation must not cut in half, and those of which it leaves less."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T], hurry: asyncio.Event | None = None) -> T:
    """The result of ``work``, which goes on to its end when the caller is cancelled; the cancellation waits for it.

    For short work, where what is remembered must stay what was done, or where half of it is worse than none. Where it may be
    long, ``hurry`` is set when the caller is cancelled, for :func:`in_time` to heed.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if hurry is not None:
            hurry.set()
        await asyncio.wait({task})
        raise


async def in_time(work: Coroutine[Any, Any, None], hurry: asyncio.Event, within_s: float) -> bool:
    """Wait for ``work`` to end. From when ``hurry`` is set it has ``within_s`` seconds; after them it is cancelled. Returns
    whether it came to its end, and raises what it raises.
    """
    task, hurrying = asyncio.ensure_future(work), asyncio.ensure_future(hurry.wait())
    try:
        await asyncio.wait({task, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({task}, timeout=within_s)
    finally:
        hurrying.cancel()
        task.cancel()
        await asyncio.wait({task})
    if task.cancelled():
        return False
    task.result()
    return True
