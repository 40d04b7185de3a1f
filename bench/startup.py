"""How long ``fleetcast --help`` takes, beside a Python that does nothing: ``python -m bench.startup --json``.

The two take turns, so that what else the machine does hits both alike; the medians are what is told.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

RUNS = 20
RUN_S_MAX = 30


def measure(runs: int = RUNS) -> dict[str, float | int]:
    """Medians in seconds, and how many times longer help takes."""
    program = Path(sys.executable).with_name("fleetcast")
    helped, bare = [], []
    for _ in range(runs):
        bare.append(_seconds([sys.executable, "-c", "pass"]))
        helped.append(_seconds([str(program), "--help"]))
    help_s, bare_s = statistics.median(helped), statistics.median(bare)
    return {"help_s": round(help_s, 4), "bare_s": round(bare_s, 4), "ratio": round(help_s / bare_s, 2), "runs": runs}


def _seconds(program: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL, timeout=RUN_S_MAX)
    return time.perf_counter() - started


if __name__ == "__main__":
    figures = measure()
    if "--json" in sys.argv[1:]:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name}: {value}" for name, value in figures.items()))
