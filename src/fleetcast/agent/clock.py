"""What time it is for goals and tickets, which a region dates: by the region's clock, as soon as it has told us the time.

So a machine whose own clock is wrong, or jumps, neither stops following its goals nor follows an expired one for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fleetcast.model.clocks import clock_alarm
from fleetcast.stores import boots


class RegionClock:
    """Safe to ask from any thread. ``own_ms`` is this machine's clock, ``uptime_ms`` one that never jumps."""

    def __init__(
        self,
        own_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        uptime_ms: Callable[[], int] = boots.uptime_ms,
    ) -> None:
        self._own_ms = own_ms
        self._uptime_ms = uptime_ms
        self._ahead_ms: int | None = None
        """The region's clock less our uptime."""

    def now_ms(self) -> int:
        """UTC: the region's clock, or before it was heard of, this machine's."""
        ahead_ms = self._ahead_ms
        return self._own_ms() if ahead_ms is None else ahead_ms + self._uptime_ms()

    def heard(self, region_ms: int) -> str | None:
        """The region told the time, a moment ago (0: it is too old to). Returns an alarm when this machine's clock is wrong."""
        if region_ms == 0:
            return None
        self._ahead_ms = region_ms - self._uptime_ms()
        return clock_alarm("this machine's clock", self._own_ms(), region_ms)
