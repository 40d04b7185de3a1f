"""People step in on real machines: a deployment goes on without a region, and machines that failed it try again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import victims
from place import Place, Repository, assert_one_line, bring_up
from running import wait_until

CONTROL = {"distribute_s_max": 240, "replicate_s_max": 100}
HALF_MAY_FAIL = "failed_percent = 60\n"
BOUND = re.compile(
    r"it has ended within (\d+) (s|min) whatever happens, pauses(?: and holds|, holds and its turn in line) apart"
)


class Web:
    """The service ``web`` of a company with a region that is near and one that is far. Machines whose name is in the gates
    cannot start it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.gates = place.directory.parent / "gates"
        self.gates.mkdir()
        self.plan = place.directory.parent / "plan.toml"
        self.plan.write_text(HALF_MAY_FAIL)
        self.repository = Repository(place.directory.parent / "web")
        self.commits = 0

    def commit(self) -> str:
        self.commits += 1
        recipe = f"""
[build]
output = "number"

[run]
activate = "test ! -e {self.gates}/$FLEETCAST_MACHINE || exit 3; exec sleep 600"
"""
        return self.repository.commit({"number": str(self.commits), "fleetcast.toml": recipe})

    def deploy(self, sha: str) -> str:
        """Returns the id of what is under way."""
        return str(self.place.json("deploy", f"web@{sha}", "--plan", str(self.plan), "--no-wait")["id"])

    def runs(self) -> dict[str, str]:
        """Which commit each machine has made its own; empty: none."""
        machines = sorted((self.place.directory / "machines").iterdir())
        current = {machine.name: machine / "services" / "production" / "web" / "current" for machine in machines}
        return {name: (path / "number").read_text() if path.exists() else "" for name, path in current.items()}

    def shown(self, deployment: str) -> Any:
        return self.place.asked(f"/v1/deployments/{deployment}")["deployment"]

    def failed(self, deployment: str) -> bool:
        return bool(self.shown(deployment)["progress"]["failed"] == 1)

    def ends(self, deployment: str, said: str) -> Any:
        """How it ended, within the bound that a command has printed."""
        count, unit = next(iter(BOUND.findall(said)))
        bound_s = int(count) * {"s": 1, "min": 60}[unit]
        assert 0 < bound_s <= sum(CONTROL.values()) + 60, "by control's settings, not by the defaults"
        wait_until(lambda: self.shown(deployment)["finished_at_ms"] is not None, f"{deployment} has ended", bound_s)
        return self.shown(deployment)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    place = bring_up(tmp_path, machines=4, regions=("near", "far"), control=CONTROL)
    try:
        place.run.wait_for("^ready")
        place.wait_for_machines(4)
        web = Web(place)
        assert place.fleetcast("service", "add", "web", str(web.repository.path)).returncode == 0
        assert place.json("deploy", f"web@{web.commit()}")["state"] == "SUCCEEDED"
        yield web
    finally:
        place.close()


def test_a_region_whose_machines_are_gone_is_skipped_and_machines_that_failed_try_again(web: Web) -> None:
    place = web.place
    away = [place.pid(f"agent-far-{number}") for number in (1, 2)]
    for pid in away:
        victims.stop(pid)
    try:
        (web.gates / "near-2").touch()
        second = web.deploy(web.commit())
        wait_until(lambda: web.runs()["near-1"] == "2" and web.failed(second), "one machine has failed, the region waits")
        assert web.shown(second)["state"] == "DISTRIBUTING"
        skipped = place.fleetcast("skip", "web", "--region", "far")
        assert (skipped.returncode, skipped.stderr) == (0, "")
        assert "; machines of far keep what they run; it has ended within " in skipped.stdout
        ended = web.ends(second, skipped.stdout)
        assert (ended["state"], ended["skipped"]) == ("SUCCEEDED", ["far"])
        assert (ended["progress"]["total"], ended["progress"]["active"], ended["progress"]["failed"]) == (2, 1, 1)
        assert web.runs() == {"near-1": "2", "near-2": "1", "far-1": "1", "far-2": "1"}

        (web.gates / "near-2").unlink()
        again = place.fleetcast("retry", "web", "--no-wait")
        assert (again.returncode, again.stderr) == (0, "")
        assert again.stdout.startswith("machines that failed try again; it has ended within ")
        (third,) = re.findall(r"fleetcast watch (\w+)", again.stdout)
        assert third != second
        ended = web.ends(third, again.stdout)
        assert (ended["state"], ended["skipped"], ended["progress"]["total"]) == ("SUCCEEDED", ["far"], 2)
        assert web.runs() == {"near-1": "2", "near-2": "2", "far-1": "1", "far-2": "1"}
        assert_one_line(place.fleetcast("retry", "web"), 4, "no machine has failed", "nothing_failed")
    finally:
        for pid in away:
            victims.resume(pid)
    place.wait_for_machines(4)
    assert place.json("deploy", f"web@{web.commit()}")["state"] == "SUCCEEDED"
    assert set(web.runs().values()) == {"3"}, "the next one means the region again"
    assert place.tracebacks() == []


def test_a_machine_that_failed_tries_again_in_the_deployment_that_is_under_way(web: Web) -> None:
    """And a region whose bucket gets no copy is skipped before the first machine."""
    place = web.place
    away = place.pid("agent-far-2")
    victims.stop(away)
    (web.gates / "near-2").touch()
    second = web.deploy(web.commit())
    wait_until(lambda: web.runs()["near-1"] == "2" and web.failed(second), "one machine has failed, another says nothing")
    (web.gates / "near-2").unlink()
    waiting = place.start("retry", "web", "--json", "--settings", str(place.directory / "settings.toml"))
    wait_until(lambda: web.runs()["near-2"] == "2", "it has tried again")
    assert web.shown(second)["state"] == "DISTRIBUTING", "one machine is missing still"
    victims.resume(away)
    assert waiting.end() == 0
    told = json.loads("\n".join(waiting.lines))
    assert (told["id"], told["state"]) == (second, "SUCCEEDED")
    assert set(web.runs().values()) == {"2"}

    copier = place.pid("region-far")
    victims.stop(copier)
    try:
        third = web.deploy(web.commit())
        wait_until(lambda: "far" in web.shown(third)["reason"], "it waits for the copy in far")
        assert web.shown(third)["state"] == "REPLICATING"
        skipped = place.fleetcast("skip", third, "--region", "far")
        ended = web.ends(third, skipped.stdout)
        assert (ended["state"], ended["reason"]) == ("SUCCEEDED", "2 of 2 machines active")
        assert web.runs() == {"near-1": "3", "near-2": "3", "far-1": "2", "far-2": "2"}
    finally:
        victims.resume(copier)
    assert place.tracebacks() == []
