"""What cannot be planned, or made here, is refused in a line that says what to do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lab import needs
from lab.errors import LabError
from lab.limits import HOSTS_MAX
from lab.plan import HostPlan, Plan, RackPlan, even, parse_rate


def test_hosts_are_dealt_evenly_to_racks_and_the_origin_to_none() -> None:
    plan = even(10, 50, racks=4, oversubscription=4)
    assert [host.rack for host in plan.hosts if host.name == "origin"] == [""]
    sizes = [sum(host.rack == rack.name for host in plan.hosts) for rack in plan.racks]
    assert sorted(sizes) == [2, 2, 3, 3]
    assert [plan.uplink_mbit(rack) for rack in plan.racks] == [size * 50 / 4 for size in sizes]


def test_a_rack_with_an_unlimited_host_has_an_unlimited_uplink() -> None:
    plan = Plan([HostPlan("a", 50, rack="r"), HostPlan("b", rack="r")], [RackPlan("r", 4)])
    assert plan.uplink_mbit(plan.racks[0]) == 0


@pytest.mark.parametrize(("text", "mbit"), [("50mbit", 50), ("1gbit", 1000), ("2.5Gbit", 2500)])
def test_rates_as_people_write_them(text: str, mbit: float) -> None:
    assert parse_rate(text) == mbit


@pytest.mark.parametrize("text", ["50", "fast", "50mb", "-1mbit"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(LabError, match="write a rate as 50mbit or 1gbit"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("hosts", "racks", "told"),
    [
        ([HostPlan(f"h{number}") for number in range(HOSTS_MAX + 1)], [], "at most"),
        ([HostPlan("a"), HostPlan("a")], [], "one name"),
        ([HostPlan("../a")], [], "not a name"),
        ([HostPlan("hub")], [], "not a name"),
        ([HostPlan("a", rack="r")], [], "not planned"),
        ([HostPlan("a", loss=1)], [], "a loss is"),
        ([HostPlan("a", -1)], [], "a rate is"),
        ([HostPlan("a", delay_ms=1e6)], [], "a delay is"),
        ([HostPlan("a")], [RackPlan("r", 0.5)], "an oversubscription is"),
    ],
)
def test_what_cannot_be_planned(hosts: list[HostPlan], racks: list[RackPlan], told: str) -> None:
    with pytest.raises(LabError, match=told):
        Plan(hosts, racks)


def test_it_takes_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="run it as root"):
        needs.check(even(1, 50))


def test_it_takes_packages_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(LabError, match="apt-get install iproute2 "):
        needs.check(even(1, 50))
    with pytest.raises(LabError, match="apt-get install iproute2 nftables "):
        needs.check(Plan([HostPlan("a", loss=0.1)]))


def test_delay_takes_a_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(needs, "TUN", tmp_path / "tun")
    needs.check(even(1, 50))
    with pytest.raises(LabError, match="the kernel's tun module"):
        needs.check(Plan([HostPlan("a", delay_ms=1)]))
