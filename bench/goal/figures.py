"""From how long each goal took to what is told of it (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def summary(took_s: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and the greatest."""
    return {
        "p50_s": round(percentile(took_s, 50), 3),
        "p99_s": round(percentile(took_s, 99), 3),
        "max_s": round(max(took_s), 3),
    }
