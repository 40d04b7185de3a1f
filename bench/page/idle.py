"""The section on what an idle agent costs (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.page.tables import table


def idle(result: Mapping[str, Any]) -> str:
    """Memory and processor."""
    rows = [
        ["memory resident, MiB", f"{result['rss_mib']:.1f}"],
        ["of one core, %", f"{result['cpu_percent']:.2f}"],
    ]
    return f"""## An idle agent

One machine runs one service of a release of {result["files"]} files, and nothing happens: the agent holds its question for
goals, reports, and looks whether all is as it was released. {result["seconds"]} s, from 20 s after the service was active; the
time on a processor is the kernel's account of the agent's process. Made by `{result["command"]}`.

{table(["", ""], rows)}"""
