"""The page on benchmarks and its charts."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.page import __main__ as page
from bench.page.svg import TICKS, Bar, Series, arrivals, bars, tick
from bench.page.tables import size, spread

CONTESTANT: dict[str, Any] = {
    "last_s": 24.0,
    "median_s": 22.0,
    "cpu_s": 10.0,
    "cpu_s_per_gib": 1.25,
    "rss_mib": 61.2,
    "last_over_bound": 1.07,
    "origin_over_size": 1.02,
    "max_rack_in_over_size": 1.3,
    "times_s": [20.0, 22.0, 24.0],
}
TOLD = {**CONTESTANT, "spread": {name: [value, value] for name, value in CONTESTANT.items() if name != "times_s"}}
PARTS = ("region", "origin", "peer", "unknown", "content", "manifest", "protocol")
DELIVERED: dict[str, Any] = {
    "wire_over_size": 0.0176,
    "target": 0.025,
    "changed_bytes": 1 << 20,
    "spread": {"wire_over_size": [0.0171, 0.0176]},
    "worst": {f"{part}_bytes": 1000 for part in PARTS},
}
COPIED: dict[str, Any] = {
    "size_bytes": 2 << 30,
    "bytes_first": 10 << 30,
    "bytes_delta": 250 << 20,
    "delta_over_first": 0.0244,
    "first_s": 20.0,
    "plain_s": 15.0,
    "again_with_delta_s": 12.0,
    "rss_mib": 150.0,
}
CYCLES = {"fleetcast": 1000.0, "procrastinate": 500.0, "pgqueuer": 400.0}
SETTINGS = ("fresh", "million_rows", "held_transaction")
RESULT: dict[str, Any] = {
    "rss_mib": 48.0,
    "cpu_percent": 0.05,
    "seconds": 300,
    "files": 1000,
    "command": "python -m bench.swarm --hosts 3",
    "machine": {"processor": "Abacus", "cores": 2, "kernel": "6.1", "python": "3.11.2"},
    "runs": 3,
    "engine": "etcd",
    "writes": 300,
    "services": 500,
    "agents": 10,
    "interval_s": 10,
    **{way: {"p50_s": 0.2, "p99_s": 0.5, "max_s": 0.6} for way in ("poll", "watch")},
    "size_bytes": 128 << 20,
    "machines": 3,
    "valid": True,
    "goodput_mbit": 47.8,
    "bound_s": 22.4,
    "last_over_blind": 0.6,
    "floor_cpu_s_per_gib": 1.0,
    "cpu_over_floor": 1.25,
    "gib_per_s": 0.5,
    "over_slowest": 0.9,
    "parts": {"writing": 0.55},
    "spread": {
        "watch_s": [1.5, 2.5],
        "poll_s": [7.0, 11.0],
        "whole": [0.4, 0.6],
        "writing": [0.5, 0.6],
        "sqlite": [900.0, 1100.0],
        **{s: {n: [9.0, 11.0] for n in CYCLES} for s in SETTINGS},
    },
    "watch_s": 2.0,
    "poll_s": 9.0,
    "machines_back": 24,
    "bytes_fetched": 0,
    "left_without": 0,
    "poll_setting_s": 10,
    "rss_mib_at_1gib": 80.0,
    "rss_mib_at_4gib": 81.0,
    "source": "in the page cache",
    "fleetcast": TOLD,
    "blind": TOLD,
    "libtorrent": TOLD,
    "aria2": TOLD,
    "first": DELIVERED,
    "scattered": DELIVERED,
    "inserted": DELIVERED,
    **dict.fromkeys(SETTINGS, CYCLES),
    "over_the_faster": dict.fromkeys(SETTINGS, 2.0),
    **dict.fromkeys(("claim_p99_ms", "claim_p50_ms", "offered_per_s", "idle_queries_per_s", "through_api", "sqlite"), 50.0),
    "regions": 5,
    "target": 0.03,
    "embedded": COPIED,
    "s3": COPIED,
    "connections": 20,
    "callers": 100,
    "history": 1_000_000,
    "postgresql": "18.4",
}


def test_the_page_is_what_the_results_say() -> None:
    assert page.main(["--check"]) == 0, "run python -m bench.page"


def test_every_result_has_a_section_and_every_chart_is_shown() -> None:
    files = page.pages(dict.fromkeys(page.SECTIONS, RESULT))
    text = files.pop("benchmarks.md")
    assert text.count(f"Made by `{RESULT['command']}`") == len(page.SECTIONS)
    assert "Abacus, 2 cores, kernel 6.1" in text
    for name, chart in files.items():
        assert f"]({name})" in text
        assert ET.fromstring(chart).tag.endswith("svg")


def test_a_run_with_a_hobbled_rival_says_that_it_does_not_count() -> None:
    text = page.pages({"swarm-hosts": {**RESULT, "valid": False}})["benchmarks.md"]
    assert "they do not count" in text


def test_what_was_not_measured_is_not_on_the_page() -> None:
    files = page.pages({})
    assert list(files) == ["benchmarks.md"]
    assert "Made by `python -m bench.swarm" not in files["benchmarks.md"]


@pytest.mark.parametrize(("size_bytes", "text"), [(128 << 20, "128 MiB"), (4 << 30, "4 GiB"), (1500, "1500 bytes")])
def test_sizes_are_told_as_they_were_asked_for(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


def test_a_spread_is_told_where_there_is_one() -> None:
    told = {"last_s": 2.0, "cpu_s": 1.0, "spread": {"last_s": [1.5, 2.5], "cpu_s": [1.0, 1.0]}}
    assert spread(told, "last_s") == "2.00 (1.50 to 2.50)"
    assert spread(told, "cpu_s", 1) == "1.0"
    assert spread(told, "rss_mib") == "-"


@given(st.floats(1e-3, 1e6))
def test_an_axis_has_some_ticks_but_not_many(greatest: float) -> None:
    assert 1 < greatest / tick(greatest) <= TICKS * (1 + 1e-9)


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=40), st.floats(0.01, 1e4))
def test_nothing_is_drawn_beside_the_chart(values: list[float], bound: float) -> None:
    root = ET.fromstring(arrivals("a <title>", [Series("one & only", tuple(sorted(values)))], bound, "s"))
    _, _, width, height = (float(each) for each in root.attrib["viewBox"].split())
    for line in _found(root, "polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=5))
def test_a_bar_is_as_long_as_its_value_compares(values: list[float]) -> None:
    root = ET.fromstring(bars("t", [Bar(str(value), value, value, value) for value in values], "s"))
    _, *drawn = [float(each.attrib["width"]) for each in _found(root, "rect")]
    longest = max(drawn)
    for value, width in zip(values, drawn, strict=True):
        assert width / longest == pytest.approx(value / max(values), abs=0.01)


def _found(root: ET.Element, tag: str) -> list[ET.Element]:
    found = root.findall(f".//{{*}}{tag}")
    assert found
    return found
