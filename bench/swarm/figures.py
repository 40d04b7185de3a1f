"""From runs to what is told of them (pure)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.swarm.contest import Run

DIGITS = 4
"""That are told of a figure. Runs differ in the third."""
OVER_BOUND_MAX = {"libtorrent": 2.3, "aria2": 2.1}
"""With more than this a rival was hobbled: it is known to do better."""


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """The median of each figure, the least and the greatest below ``spread``, and every machine's time in the median run."""
    names = runs[0].figures.keys()
    values = {name: [run.figures[name] for run in runs] for name in names}
    last_s = statistics.median_low(values["last_s"])
    typical = next(run for run in runs if run.figures["last_s"] == last_s)
    return {
        **{name: rounded(statistics.median(each)) for name, each in values.items()},
        "spread": {name: [rounded(min(each)), rounded(max(each))] for name, each in values.items()},
        "times_s": [rounded(time_s) for time_s in typical.times_s],
    }


def with_figures(run: Run, **more: float) -> Run:
    """A run of which more is told."""
    return Run(run.times_s, {**run.figures, **more})


def ratio(runs: Sequence[Run], others: Sequence[Run], name: str) -> float:
    """The median of how a figure compares with that of somebody else in the same run."""
    pairs = zip(runs, others, strict=True)
    return rounded(statistics.median(run.figures[name] / other.figures[name] for run, other in pairs))


def valid(contestants: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether each rival that took part did what it can."""
    return all(contestants[name]["last_over_bound"] <= most for name, most in OVER_BOUND_MAX.items() if name in contestants)


def rounded(value: float) -> float:
    """To ``DIGITS`` significant ones; whole numbers stay whole."""
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")
