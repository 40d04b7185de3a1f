"""Selectors: whether two of them could mean the same machine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.machine import Machine, Selector

REGIONS = st.sampled_from([RegionName("eu"), RegionName("us")])
ZONES = st.sampled_from(["a", "b"])
LABELS = st.dictionaries(st.sampled_from(["env", "role"]), st.sampled_from(["x", "y"]))
SELECTORS = st.builds(Selector, st.lists(REGIONS, unique=True).map(tuple), st.lists(ZONES, unique=True).map(tuple), LABELS)


@given(SELECTORS, SELECTORS)
def test_apart_are_those_that_no_machine_matches_both(one: Selector, other: Selector) -> None:
    places = [(region, zone) for region in ("eu", "us") for zone in ("a", "b")]
    labels = [{k: v for k, v in (("env", env), ("role", role)) if v} for env in ("", "x", "y") for role in ("", "x", "y")]
    machines = [Machine(MachineId("m"), RegionName(region), zone, labels=each) for region, zone in places for each in labels]
    both = any(one.matches(machine) and other.matches(machine) for machine in machines)
    assert one.apart_from(other) == other.apart_from(one) == (not both)
