"""When control looks at a branch next."""

from __future__ import annotations

from random import Random

from fleetcast.model.limits import POLL_BACKOFF_S_MAX


def delay_s(every_s: float, failures: int, rng: Random) -> float:
    """Seconds until the next look, after ``failures`` in a row (0: it succeeded). Failures double it up to
    ``POLL_BACKOFF_S_MAX``, or ``every_s`` where that is longer. It varies by a tenth, so that services that were registered
    together are not looked at together; after a failure by a quarter.
    """
    if failures == 0:
        return every_s * rng.uniform(0.9, 1.1)
    longest_s = max(every_s, POLL_BACKOFF_S_MAX)
    return float(min(longest_s, every_s * 2.0 ** min(failures, 16)) * rng.uniform(0.75, 1.25))
