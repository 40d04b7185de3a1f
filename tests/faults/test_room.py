"""Two services are fetched at once onto a disk that has room for one: neither runs into its end, and both get their turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import MIB, Disk, disks
from place import Place, Repository, bring_up
from running import wait_until

CONTENT_BYTES = 12 * MIB
ROOM_BYTES = CONTENT_BYTES * 3 // 2
RECIPE = ("--build", f"head -c {CONTENT_BYTES} /dev/urandom > out", "--output", "out")
SERVICES = ("first", "second")


@pytest.fixture(autouse=True)
def _watched() -> None:
    """No service of another test runs here that could be watched."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Place, Disk]]:
    """One machine, with a disk of its own."""
    with disks(tmp_path / "fleetcast-data" / "machines" / "local-1") as mounted:
        place = bring_up(tmp_path)
        try:
            place.run.wait_for("^ready")
            place.wait_for_machines(1)
            Repository(tmp_path / "web").commit({"README": "web"})
            yield place, mounted["local-1"]
        finally:
            place.end()
    place.close()


def whole(place: Place) -> list[str]:
    """Services of which the machine has a release."""
    base = place.directory / "machines/local-1/services/production"
    return [name for name in SERVICES if list((base / name / "releases").glob("*"))]


def test_what_is_promised_to_one_is_not_given_to_another(place: tuple[Place, Disk], tmp_path: Path) -> None:
    company, disk = place
    sha = (tmp_path / "web/.git/refs/heads/main").read_text().strip()
    for name in SERVICES:
        assert company.fleetcast("service", "add", name, str(tmp_path / "web"), *RECIPE).returncode == 0
        assert company.fleetcast("build", f"{name}@{sha}").returncode == 0
    with disk.full(ROOM_BYTES):
        for name in SERVICES:
            assert company.fleetcast("deploy", f"{name}@{sha}", "--no-wait").returncode == 0
        wait_until(
            lambda: "room on this machine's disk: needs " in company.fleetcast("machine", "show", "local-1", "--json").stdout,
            "one waits",
        )
        wait_until(lambda: len(whole(company)) == 1, "the other is there")
        waiting = next(name for name in SERVICES if name not in whole(company))
        assert "no room on this machine's disk" in company.fleetcast("status").stdout
    wait_until(lambda: company.json("status", waiting)[0]["state"] == "SUCCEEDED", "there is room again")
    assert "fetch_failed" not in company.log("agent-local-1"), "nobody ran into the end of the disk"
    assert company.tracebacks() == []
