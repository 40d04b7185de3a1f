"""The sections on filling a fleet, and their charts (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.page.svg import Bar, Series, arrivals, bars
from bench.page.tables import size, spread, table

NAMES = {"fleetcast": "Fleetcast", "libtorrent": "libtorrent", "aria2": "aria2", "blind": "the same, rack bias off"}

Result = Mapping[str, Any]


def lab(result: Result) -> str:
    """Hosts with limited links."""
    present = [name for name in NAMES if name in result]
    rows = [_lab_row(result[name], NAMES[name]) for name in present]
    header = ["", "last host, s", "over the bound", "median host, s", "from the origin, sizes", "CPU-s", "largest process, MiB"]
    hobbled = "" if result["valid"] else " **A rival was hobbled in these runs: they do not count.**"
    return f"""## {result["machines"]} hosts with limited links

{size(result["size_bytes"])} to {result["machines"]} hosts. One idle stream carries {result["goodput_mbit"]:g} Mbit/s of payload
through the shaper, so nothing can be faster than {result["bound_s"]:g} s. {_made(result)}{hobbled}

{table(header, rows)}
![How many hosts have it by when](benchmarks/hosts.svg)
"""


def lab_chart(result: Result) -> str:
    series = [Series(NAMES[name], tuple(result[name]["times_s"])) for name in NAMES if name in result]
    title = f"Hosts that have {size(result['size_bytes'])}, of {result['machines']}"
    return arrivals(title, series, result["bound_s"], "seconds since the start signal")


def racks(result: Result) -> str:
    """Hosts in racks behind an oversubscribed uplink."""
    present = [name for name in ("fleetcast", "blind") if name in result]
    header = ["", "last host, s", "over the bound", "into a rack at most, sizes", "from the origin, sizes"]
    names = ("last_s", "last_over_bound", "max_rack_in_over_size", "origin_over_size")
    rows = [[NAMES[name], *(spread(result[name], each) for each in names)] for name in present]
    what = f"{size(result['size_bytes'])} to {result['machines']} hosts in racks"
    blind = result["last_over_blind"]
    said = "" if blind is None else f"\nWith rack bias the last host needs {blind:g} of the time that it needs without.\n"
    return f"""## Racks

{what} whose uplinks carry less than their hosts could together. {_made(result)}

{table(header, rows)}{said}"""


def loopback(result: Result) -> str:
    """What it costs where no link limits it."""
    return f"{large(result)}\n![CPU time of a delivered GiB](benchmarks/loopback.svg)\n"


def large(result: Result) -> str:
    """The same of an artifact that is larger than most."""
    present = [name for name in ("fleetcast", "libtorrent") if name in result]
    header = ["", "CPU-s a GiB", "CPU-s", "last machine, s", "largest process, MiB"]
    rows = [[NAMES[name], *(spread(result[name], each) for each in _LOOPBACK)] for name in present]
    rows.append(["one pair", f"{result['floor_cpu_s_per_gib']:.2f}", "-", "-", "-"])
    if "floor_1gib_cpu_s_per_gib" in result:
        rows.append(["one pair, of 1 GiB", f"{result['floor_1gib_cpu_s_per_gib']:.2f}", "-", "-", "-"])
    compared = {"cpu_over_floor": "the floor's", "cpu_over_libtorrent": "libtorrent's", "cpu_over_1gib": "that of 1 GiB"}
    ratios = ", ".join(f"{result[key]:g} times {what}" for key, what in compared.items() if key in result)
    if "floor_over_1gib" in result:
        ratios += f". The floor's own is {result['floor_over_1gib']:g} times that of 1 GiB"
    return f"""## {size(result["size_bytes"])} over loopback, {result["machines"]} machines

The CPU time that a delivered GiB costs where no link is the limit: Fleetcast's is {ratios}. {_made(result)}

{table(header, rows)}"""


def loopback_chart(result: Result) -> str:
    chart = []
    for name in ("fleetcast", "libtorrent"):
        if name in result:
            told = result[name]
            chart.append(Bar(NAMES[name], told["cpu_s_per_gib"], *told["spread"]["cpu_s_per_gib"]))
    floor = result["floor_cpu_s_per_gib"]
    chart.append(Bar("one pair: the floor", floor, floor, floor))
    return bars("CPU time of a delivered GiB", chart, "seconds, every process; the line is the spread of the runs")


_LOOPBACK = ("cpu_s_per_gib", "cpu_s", "last_s", "rss_mib")


def _lab_row(told: Result, name: str) -> list[str]:
    columns = (("last_s", 2), ("last_over_bound", 3), ("median_s", 2), ("origin_over_size", 2), ("cpu_s", 1), ("rss_mib", 0))
    return [name, *(spread(told, key, digits) for key, digits in columns)]


def _made(result: Result) -> str:
    runs = "one run" if result["runs"] == 1 else f"the median of {result['runs']} runs, in brackets the least and the greatest"
    return f"Made by `{result['command']}`: {runs}."
