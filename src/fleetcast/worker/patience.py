"""Calling control again and again while it cannot be reached."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from fleetcast.model.errors import Unavailable
from fleetcast.model.limits import WORKER_BACKOFF_S_MAX
from fleetcast.worker.backoff import delay_s

log = structlog.get_logger(__name__)

T = TypeVar("T")


async def until_answered(
    call: Callable[[], Awaitable[T]], rng: random.Random, *, longest_wait_s: float = WORKER_BACKOFF_S_MAX
) -> T:
    """The answer to ``call``, which is repeated as long as it raises :class:`Unavailable`; every other error passes.

    Bound it from outside, by ``asyncio.timeout``.
    """
    failures = 0
    while True:
        try:
            return await call()
        except Unavailable as error:
            failures += 1
            wait_s = delay_s(failures, rng, longest_wait_s)
            log.warning("control_unavailable", reason=error.message, again_in_s=round(wait_s, 1))
            await asyncio.sleep(wait_s)
