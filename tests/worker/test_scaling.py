"""How many slots follow from what is wanted, over time; and a worker that follows a real queue."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from fleetcast.model.errors import Invalid
from fleetcast.model.limits import SCALE_DOWN_S
from fleetcast.worker.scaling import Bounds, Scaling, bounds_of

BOUNDS = st.tuples(st.integers(1, 10), st.integers(0, 20)).map(lambda pair: Bounds(pair[0], pair[0] + pair[1]))
LOOKS = st.lists(st.tuples(st.floats(0.1, SCALE_DOWN_S), st.integers(0, 100)), min_size=1, max_size=40)
"""Seconds since the look before, and what was wanted."""


@given(BOUNDS, LOOKS)
def test_slots_are_the_most_that_was_wanted_lately_within_bounds(bounds: Bounds, looks: list[tuple[float, int]]) -> None:
    scaling, now_s, seen = Scaling(), 0.0, []
    for since_s, wanted in looks:
        now_s += since_s
        seen.append((now_s, wanted))
        scaling = scaling.after(now_s, wanted)
        lately = max(said for at_s, said in seen if at_s > now_s - SCALE_DOWN_S)
        assert scaling.slots(bounds) == min(bounds.most, max(bounds.least, lately))
        assert len(scaling.peaks) <= len(seen)


@given(BOUNDS, LOOKS)
def test_more_is_had_at_once_and_fewer_only_after_a_while(bounds: Bounds, looks: list[tuple[float, int]]) -> None:
    scaling, now_s, before = Scaling(), 0.0, 0
    changed_s = -SCALE_DOWN_S
    for since_s, wanted in looks:
        now_s += since_s
        scaling = scaling.after(now_s, wanted)
        slots = scaling.slots(bounds)
        assert slots >= min(wanted, bounds.most)
        if slots > before:
            changed_s = now_s
        assert slots >= before or now_s - changed_s >= SCALE_DOWN_S
        before = slots


def test_bounds_are_written_with_two_dots() -> None:
    assert bounds_of("1..8") == Bounds(1, 8)
    for text in ("8", "0..4", "4..2", "1..65", "a..b", "1..", "-1..2"):
        with pytest.raises(Invalid, match=r"write MIN\.\.MAX, for instance 1\.\.8"):
            bounds_of(text)


async def test_a_worker_has_a_slot_for_each_build_that_could_run(gated: Any, working: Any) -> None:
    """Three builds, each of which runs only while the others do."""
    builds = [await gated.order(gate) for gate in "abc"]
    with capture_logs() as logs:
        async with working(dataclasses.replace(gated.company.worker, scale=Bounds(1, 8))):
            for build in builds:
                await gated.until_it_runs(build)
            for gate in "abc":
                gated.open(gate)
            for build in builds:
                await gated.ended(build)
    assert [line["slots"] for line in logs if line["event"] == "scaled"][-1] == 3
