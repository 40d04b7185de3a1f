"""The section on the build queue (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.page.tables import table

SETTINGS = {"fresh": "fresh", "million_rows": "with a history", "held_transaction": "beside a held transaction"}
CONTESTANTS = ("fleetcast", "procrastinate", "pgqueuer")


def queue(result: Mapping[str, Any]) -> str:
    """Cycles per second of all contestants, and what only Fleetcast is asked."""
    rows = [[name, *(_rate(result, setting, name) for setting in SETTINGS)] for name in CONTESTANTS]
    rows.append(["fleetcast over the faster", *(f"{result['over_the_faster'][setting]:.2f}" for setting in SETTINGS)])
    history = f"{result['history']:,}"
    spread = _between(result["spread"]["sqlite"])
    return f"""## The build queue

{result["callers"]} callers claim a job, heartbeat and finish it, again and again: cycles per second on a PostgreSQL
{result["postgresql"]} of its own over loopback (fsync on), beside procrastinate and pgqueuer in their documented
configuration, one job a claim. All have a pool of {result["connections"]} connections, one process and the same event loop,
and are called as those call them who use them: Fleetcast's queue as control calls it for its workers, the others as their own
workers do. Fleetcast's callers who come at once share transactions, each with a job of its own; and its cycle does more: a
bound per service, a token that voids whoever lost the job, an event for each change, the artifact's row. **With a history**
there are {history} finished jobs; **beside a held transaction** somebody's snapshot is open throughout, so that nothing dead
is cleaned up. Made by `{result["command"]}`: medians of {result["runs"]} runs, in which contestants take turns, with the least
and the greatest.

{table(["cycles/s", *SETTINGS.values()], rows)}
The same on SQLite: {result["sqlite"]:.0f} cycles/s ({spread}). Through the API, over HTTP, by {result["callers"]} workers in
one process: {result["through_api"]:.0f} cycles/s. With builds queued over connections of their own at
{result["offered_per_s"]:.0f} a second, whether or not those before are claimed, each ended once it is, and as many workers
that wait, it takes {result["claim_p50_ms"]:.0f} ms in the median and {result["claim_p99_ms"]:.0f} ms at the 99th percentile
from when a build was due, before its transaction began, to when a worker has it. {result["callers"]}
workers without work, and control with all else that it does, ask the server for
{result["idle_queries_per_s"]:.1f} queries a second.
"""


def _rate(result: Mapping[str, Any], setting: str, name: str) -> str:
    return f"{result[setting][name]:.0f} ({_between(result['spread'][setting][name])})"


def _between(spread: list[float]) -> str:
    least, greatest = spread
    return f"{least:.0f} to {greatest:.0f}"
