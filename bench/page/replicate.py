"""The section on what it takes to copy an artifact into every region (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.page.tables import size, table

ENGINES = {"embedded": "directories", "s3": "S3-compatible stores"}
ROWS: Final[Mapping[str, tuple[str, Callable[[Any], str]]]] = {
    "size_bytes": ("the first artifact", size),
    "first_s": ("copied everywhere within, s", lambda value: f"{value:.1f}"),
    "plain_s": ("a plain copy, s", lambda value: f"{value:.1f}"),
    "again_with_delta_s": ("the second one, s", lambda value: f"{value:.1f}"),
    "bytes_first": ("bytes from the main store for the first", str),
    "bytes_delta": ("for the second", str),
    "delta_over_first": ("that over the first's", lambda value: f"{value:.4f}"),
    "rss_mib": ("memory of the largest region, MiB", lambda value: f"{value:.0f}"),
}


def replicate(result: Mapping[str, Any]) -> str:
    """Both engines side by side."""
    there = [engine for engine in ENGINES if engine in result]
    rows = [[what, *(shown(result[engine][name]) for engine in there)] for name, (what, shown) in ROWS.items()]
    return f"""## From the main store into every region

{result["regions"]} regions with empty buckets copy an artifact, one file of random bytes, at the same time; then the next one
of the service, in which 1% of the bytes differs, in 20 ranges of random lengths at random places. Control, a worker and the
regions are the programs that ship, all on one machine, so the link is its loopback network, and what bounds them are its two
processors and its disk. The clock runs, by the database's, from the moment that regions can know of an artifact until control
has seen it whole in every bucket. Bytes from the main store are those that the regions receive over connections to it, as the
kernel counts them: content, manifest and headers. As much memory as the first copies fill is written once and given back
before them, as for the fleets above. {result["target"]:g} of the first's are wanted at most for the second, of
2 GiB: at the edges of each range whole chunks travel, which is more of a smaller artifact.

**A plain copy** reads the second artifact from the same store: one process a region, all at a time, one stream each, written
as it comes, nothing verified and nothing resumable. S3-compatible stores are two servers of OpenStack Swift, one with the main
store and one with the regions' buckets, which share the machine with everything else. Made by `{result["command"]}`.

{table(["", *(ENGINES[engine] for engine in there)], rows)}"""
