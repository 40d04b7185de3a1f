"""When a process that ended is started again (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.limits import PROCESS_RESTART_S_MAX, PROCESS_RESTART_S_MIN, PROCESS_STEADY_S


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
    started again for ever, doubling the delay from ``PROCESS_RESTART_S_MIN`` to ``PROCESS_RESTART_S_MAX``.
    """
    if not before.was_ready:
        return Decision(None, before)
    failures = 0 if lived_s >= PROCESS_STEADY_S else before.failures
    return Decision(
        min(PROCESS_RESTART_S_MIN * 2.0 ** min(failures, 16), float(PROCESS_RESTART_S_MAX)), Restarts(True, failures + 1)
    )
