"""Time that never jumps: which start of this host it is, and how long ago that was. The same for all of its processes."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot() -> str:
    """Names the time since this host was last started."""
    return _BOOT_ID.read_text().strip()


def uptime_ms() -> int:
    """Milliseconds of the monotonic clock: the same for all processes of one boot."""
    return time.monotonic_ns() // 1_000_000
