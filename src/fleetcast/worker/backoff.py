"""How long to wait before trying again. Pure."""

from __future__ import annotations

import random
from typing import Final

FIRST_S: Final = 0.5


def delay_s(failures: int, rng: random.Random, longest_s: float) -> float:
    """Seconds to wait after ``failures`` (from 1) in a row: doubling up to ``longest_s``, and of that a random half or more,
    so that workers that failed together do not come back together.
    """
    full = min(longest_s, FIRST_S * (1 << min(failures - 1, 16)))
    return full * rng.uniform(0.5, 1.0)
