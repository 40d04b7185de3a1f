"""The section on how long a rollback takes (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.page.tables import spread, table


def rollback(result: Mapping[str, Any]) -> str:
    """Both ways."""
    fetched = str(result["bytes_fetched"])
    rows = [
        ["last machine back, s", spread(result, "watch_s"), spread(result, "poll_s")],
        ["machines back", *[f"{result['machines_back']} of {result['machines']}"] * 2],
        ["bytes fetched", fetched, fetched],
    ]
    return f"""## Going back

{result["machines"]} real agents in {result["regions"]} regions run the example service; two releases went to all of them.
The clock starts before `fleetcast rollback` does, as a person types it, and ends when the last machine's health check has
passed, as that machine wrote it down. **Watched**: control holds the regions' question for goals, as it does unless `kv_watch`
is off. **Polled**: regions ask every {result["poll_setting_s"]} s, and no more; the command comes at a random moment in
between. Agents hold their question at their region. {result["runs"]} rollbacks each way, medians and, in brackets, the least
and the greatest; every machine is asked every 100 ms whether its service answers: {result["left_without"]} did not, outside
their own change-over. All of it is on one machine. Made by `{result["command"]}`.

{table(["", "watched", "polled"], rows)}"""
