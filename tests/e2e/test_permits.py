"""No more machines of a rack are down than a service allows, although all of its machines are let in at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from place import show_gates

RACKS = {"local-1": "r1", "local-2": "r1", "local-3": "r1", "local-4": "r2"}


def place_in_racks(settings: Path) -> None:
    text = settings.read_text()
    for machine, rack in RACKS.items():
        text = text.replace(f'machine = "{machine}"\n', f'machine = "{machine}"\nrack = "{rack}"\n')
    settings.write_text(text)
    show_gates(settings)


def test_a_rack_goes_down_one_machine_at_a_time(
    start_place: Callable[..., Any], make_repository: Callable[..., Any], until: Callable[..., None], tmp_path: Path
) -> None:
    place = start_place(machines=4, edit=place_in_racks)
    repository = make_repository(tmp_path / "web")
    gate = tmp_path / "gate"
    # A health check that hangs while the gate is there: machines stay down under their permits, and can be counted.
    recipe = ("--build", "git rev-parse HEAD > out", "--output", "out", "--activate", "exec sleep 600")
    recipe += ("--health", f"while [ -e {gate} ]; do sleep 0.1; done")
    bounds = ("--max-unavailable", "3", "--max-unavailable-rack", "1")
    assert place.fleetcast("service", "add", "web", str(repository.path), *recipe, *bounds).returncode == 0
    assert place.json("deploy", f"web@{repository.commit({'n': '1'})}")["state"] == "SUCCEEDED", "nothing ran: no permits"

    def activating() -> set[str]:
        states = {name: place.directory / "machines" / name / "services/production/web/state.json" for name in RACKS}
        return {name for name, file in states.items() if json.loads(file.read_text())["activation"] is not None}

    gate.touch()
    sha = repository.commit({"n": "2"})
    assert place.fleetcast("deploy", f"web@{sha}", "--no-wait").returncode == 0
    others = "a permit: 1 of at most 1 machines of web in rack r1 are down"
    until(lambda: len(activating()) == 2, "one machine of each rack goes down")
    down = activating()
    assert {RACKS[name] for name in down} == {"r1", "r2"}
    waiting = sorted(RACKS.keys() - down)
    for name in waiting:
        until(lambda name=name: others in json.dumps(place.json("machine", "show", name)), f"{name} waits for its rack")
    assert activating() == down

    gate.unlink()
    until(lambda: place.json("status", "web")[0]["state"] == "SUCCEEDED", "all machines run it")
