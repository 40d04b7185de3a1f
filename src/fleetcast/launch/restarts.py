"""When a process that ended is started again (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RESTART_S_MIN: Final = 0.5
RESTART_S_MAX: Final = 30.0
STEADY_S: Final = 60.0
"""A process that lived so long is well again: the next end of it counts as the first."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """What a supervisor remembers about one process."""

    was_ready: bool = False
    """It once told that it listens."""
    failures: int = 0
    """Ends in a row."""


@dataclass(frozen=True, slots=True)
class Decision:
    delay_s: float | None
    """Start again after this; ``None``: give up."""
    after: Restarts


def after_end(before: Restarts, lived_s: float) -> Decision:
    """A process ended by itself after ``lived_s``.

    One that was never ready has wrong settings or lacks something: starting it again would only hide that. One that was is
    started again for ever, doubling the delay from ``RESTART_S_MIN`` to ``RESTART_S_MAX``.
    """
    if not before.was_ready:
        return Decision(None, before)
    failures = 0 if lived_s >= STEADY_S else before.failures
    return Decision(min(RESTART_S_MIN * 2.0 ** min(failures, 16), RESTART_S_MAX), Restarts(True, failures + 1))
