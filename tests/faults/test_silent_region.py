"""A region is stopped for longer than control waits for it: deployments go on without it, and it catches up alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import victims
from place import Place, Repository, bring_up
from running import wait_until

SILENCE_S_MAX = 8
RECIPE = ("--build", "mkdir out && date +%N > out/stamp", "--output", "out")


@pytest.fixture(autouse=True)
def _watched() -> None:
    """No service of another test runs here that could be watched."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = bring_up(tmp_path, machines=2, regions=("near", "far"), control={"region_silence_s_max": SILENCE_S_MAX})
    try:
        place.run.wait_for("^ready")
        place.wait_for_machines(2)
        yield place
    finally:
        place.close()


def region(place: Place, name: str) -> Any:
    return next(found for found in place.json("status")["regions"] if found["name"] == name)


def runs(place: Place, machine: str) -> str:
    """What a release there consists of; empty: there is none."""
    current = place.directory / "machines" / machine / "services" / "production" / "web" / "current"
    return (current / "stamp").read_text() if current.exists() else ""


def test_nothing_waits_for_it_until_it_has_caught_up(place: Place, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "web")
    assert place.fleetcast("service", "add", "web", str(repository.path), *RECIPE).returncode == 0
    first = repository.commit({"when": "first"})
    assert place.fleetcast("deploy", f"web@{first}").returncode == 0
    away = place.pid("region-far")
    victims.stop(away)
    try:
        wait_until(lambda: region(place, "far")["silent_at_ms"] is not None, "the silent region is drained")
        said = place.fleetcast("status").stdout
        assert "far (silent)" in said
        assert "alarm: control: region far says nothing" in said
        second = repository.commit({"when": "second"})
        deployed = place.json("deploy", f"web@{second}")
        assert (deployed["state"], deployed["progress"]["total"]) == ("SUCCEEDED", 1)
        assert place.fleetcast("drain", "far", "--undo").returncode == 4
        back = place.json("rollback", "web")
        assert back["state"] == "SUCCEEDED"
        assert place.json("deploy", f"web@{second}")["state"] == "SUCCEEDED"
    finally:
        victims.resume(away)
    wait_until(lambda: not region(place, "far")["drained"], "it counts again")
    assert region(place, "far")["silent_at_ms"] is None
    shown = place.json("artifact", "show", f"web@{second}")
    assert {copy["bucket"]: copy["status"] for copy in shown["replicas"]} == {"near": "COMPLETE", "far": "COMPLETE"}
    wait_until(lambda: runs(place, "far-1") == runs(place, "near-1"), "its machine follows")
    assert place.pid("region-far") == away, "nobody has started it again"
    assert place.fleetcast("deploy", f"web@{first}").returncode == 0
    assert runs(place, "far-1") == runs(place, "near-1")
