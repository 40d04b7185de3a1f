"""The section on how fast a goal is at an agent (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.page.tables import table

ROWS = {
    "p50_s": "half of them within, s",
    "p99_s": "99 of 100 within, s",
    "max_s": "all of them within, s",
}


def goal(result: Mapping[str, Any]) -> str:
    """Both ways of one engine."""
    rows = [[what, *(f"{result[way][name]:.3f}" for way in ("poll", "watch"))] for name, what in ROWS.items()]
    where = {"embedded": "embedded stores", "etcd": "etcd, one server that waits for its disk"}[result["engine"]]
    return f"""## From a goal to an agent, on {where}

{result["writes"]} goals of {result["services"]} services are written into the global key-value store at random moments, as
control writes them, and noted when the agent that they concern has them, over a long poll at its region; {result["agents"]}
agents have a part of the services each. **Asked**: the region asks control every {result["interval_s"]} s, and no more.
**Held**: control holds its question in between, as it does unless `kv_watch` is off. The clock starts before the write.
Control and region are the programs that ship, all of it on one machine. Made by `{result["command"]}`.

{table(["", "asked", "held"], rows)}"""
