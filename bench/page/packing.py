"""The section on packing (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.page.tables import size, table


def pack(result: Mapping[str, Any]) -> str:
    """The whole, beside each of its parts alone."""
    figures = {"the whole": result["gib_per_s"], **result["parts"]}
    spreads = {name: result["spread"]["whole" if name == "the whole" else name] for name in figures}
    rows = [[name, f"{rate:.2f}", f"{spreads[name][0]:.2f} to {spreads[name][1]:.2f}"] for name, rate in figures.items()]
    return f"""## Packing

{size(result["size_bytes"])} of an output, {result["source"]}, read, cut into chunks, hashed and uploaded part by part to a
directory bucket whose data port is a process of its own and makes each part durable. Made by `{result["command"]}`,
{result["runs"]} runs, medians. That process drops the bucket's clean pages from the page cache now and then: on this
machine memory that the host has to provide first costs more than all else. The whole goes at
{result["over_slowest"]:.2f} of its slowest part's rate, and takes {result["rss_mib_at_1gib"]:.0f} MiB of memory at 1 GiB,
{result["rss_mib_at_4gib"]:.0f} MiB at 4 GiB.

{table(["", "GiB/s", "least to greatest"], rows)}"""
