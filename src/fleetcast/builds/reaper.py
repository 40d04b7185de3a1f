"""The reaper's turns: it calls nobody silent for a time in which it could not have heard them.

Heartbeats reach nobody while control is down or stopped, and afterwards every worker looks dead. So silence is counted from
where this process began to listen: its start, or its awakening after a pause.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from fleetcast.builds.queue import BuildQueue
from fleetcast.model.ids import BuildId

log = structlog.get_logger(__name__)


class Reaper:
    """For one loop, which takes a turn every ``interval_s``."""

    def __init__(
        self, queue: BuildQueue, silence_s_max: float, interval_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue = queue
        # Heartbeats come at least twice in ``silence_s_max``, so a pause of less than half of that makes nobody look silent.
        self._gap_s_max = max(silence_s_max / 2, 2 * interval_s)
        self._clock = clock
        self._turned_at: float | None = None
        self._listening_since = 0.0

    async def turn(self) -> tuple[BuildId, ...]:
        """Judge every live job; those that changed."""
        now = self._clock()
        if self._turned_at is None:
            self._listening_since = now
        elif now - self._turned_at > self._gap_s_max:
            log.warning("reaper_was_away", seconds=round(now - self._turned_at, 1))
            self._listening_since = now
        self._turned_at = now
        return await self._queue.reap(listened_ms=int((now - self._listening_since) * 1000))
