"""How long to wait before trying again what failed for reasons outside of this machine."""

from __future__ import annotations

from random import Random

from fleetcast.model.limits import AGENT_RETRY_S_MAX, AGENT_RETRY_S_MIN


def retry_s(failures: int, rng: Random) -> float:
    """Seconds after that many failures in a row: doubles up to ``AGENT_RETRY_S_MAX``, and somewhere in its upper half, so
    that machines which failed together do not come back together.
    """
    longest = min(AGENT_RETRY_S_MIN * 2 ** min(failures, 10), AGENT_RETRY_S_MAX)
    return rng.uniform(longest / 2, longest)
