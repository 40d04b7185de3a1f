"""A service in staging and production on real machines: what runs in the one goes to the other, as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from place import Place, Repository, assert_one_line, bring_up
from running import wait_until

RECIPE = ("--build", "cp text out", "--output", "out", "--activate", 'echo "$FLEETCAST_ENVIRONMENT" > "$FLEETCAST_DATA/where"')


@pytest.fixture
def place(tmp_path: Path) -> Any:
    place = bring_up(tmp_path, machines=2)
    try:
        place.run.wait_for("^ready")
        place.wait_for_machines(2)
        yield place
    finally:
        place.close()


def _label(place: Place, machine: str, env: str) -> None:
    assert place.fleetcast("machine", "label", machine, f"env={env}").returncode == 0
    wait_until(lambda: _labels(place).get(machine) == env, f"{machine} is in {env}")


def _labels(place: Place) -> dict[str, str]:
    return {one["id"]: one["labels"].get("env", "") for one in place.asked("/v1/machines")["items"]}


def _runs(place: Place, environment: str) -> list[tuple[str, str]]:
    """Machines that have a release of ``web`` from an environment, and what its file says."""
    found = (place.directory / "machines").glob(f"*/services/{environment}/web/current")
    return sorted((path.parents[3].name, _text(path)) for path in found)


def _text(current: Path) -> str:
    tree = current.resolve()
    return next(path for path in (tree, *tree.rglob("*")) if path.is_file()).read_text()


def _deployed(place: Place, *arguments: str) -> Any:
    deployment = place.json(*arguments)
    assert deployment["state"] == "SUCCEEDED"
    return deployment


def _two_sides(place: Place) -> tuple[Repository, list[str], str, str]:
    """A repository with three commits, and the machine that is staging's and the one that is production's."""
    repository = Repository(place.directory.parent / "web")
    shas = [repository.commit({"text": text}, f"say {text}") for text in ("one", "two", "three")]
    one, other = sorted(_labels(place))
    _label(place, one, "staging")
    _label(place, other, "production")
    return repository, shas, one, other


def test_staging_then_production_of_the_same_digest(place: Place) -> None:
    repository, shas, one, other = _two_sides(place)
    add = ("service", "add", "web", str(repository.path), *RECIPE)
    assert place.fleetcast(*add, "--label", "env=production").returncode == 0
    staging = ("environment", "add", "web", "staging", "--label", "env=staging")
    assert "machines: 1" in place.fleetcast(*staging).stdout
    assert place.fleetcast(*add, "--label", "env=production", "--requires", "staging").returncode == 0
    assert_one_line(place.fleetcast("deploy", f"web@{shas[0]}"), 4, "requires that it succeeded in staging", "not_promoted")

    staged = _deployed(place, "deploy", f"web@{shas[0]}", "--environment", "staging")
    assert (_runs(place, "staging"), _runs(place, "production")) == ([(one, "one")], [])
    promoted = _deployed(place, "release", "promote", "web", "staging", "production")
    assert promoted["release"] == staged["release"]
    assert (promoted["promoted_from"], promoted["build"]) == ("staging", None)
    assert _runs(place, "production") == [(other, "one")]

    _deployed(place, "deploy", f"web@{shas[2]}", "--environment", "staging")
    look = place.fleetcast("release", "promote", "web", "staging", "production", "--dry-run")
    lines = look.stdout.splitlines()
    assert lines[0].startswith(f"staging runs web/{shas[2]} (digest ")
    assert lines[1:] == ["2 commits come:", f"  {shas[2][:12]} say three", f"  {shas[1][:12]} say two"]
    assert _runs(place, "production") == [(other, "one")], "it was only looked at"
    told = place.fleetcast("release", "promote", "web", "staging", "production")
    assert told.returncode == 0, told.stderr
    assert "say two" in told.stdout
    assert _runs(place, "production") == [(other, "three")]
    assert len(place.asked("/v1/builds")["items"]) == 2, "what is promoted is not built"

    _deployed(place, "rollback", "web", "--environment", "staging")
    assert (_runs(place, "staging"), _runs(place, "production")) == ([(one, "one")], [(other, "three")])
    table = place.fleetcast("status", "web").stdout
    assert "ENVIRONMENT" in table
    assert "production" not in place.fleetcast("status", "web", "--environment", "staging").stdout
    listed = place.fleetcast("environment", "list", "web").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["ENVIRONMENT", "production", "staging"]

    # A machine that changes sides runs the service once.
    _label(place, one, "production")
    wait_until(lambda: _runs(place, "production") == [(one, "three"), (other, "three")], "it runs what production runs")
    assert _runs(place, "staging") == []
    assert place.fleetcast(*add, "--label", "env=production").returncode == 0
    gone = place.fleetcast("environment", "remove", "web", "staging", "--yes")
    assert "is removed" in gone.stdout
    assert_one_line(
        place.fleetcast("deploy", f"web@{shas[0]}", "--environment", "staging"), 3, "it has production", "unknown_environment"
    )
    assert place.tracebacks() == []


def test_what_is_done_in_one_leaves_the_other_alone(place: Place) -> None:
    """Machines that failed try again, and a region goes back past control."""
    repository, shas, one, other = _two_sides(place)
    add = ("service", "add", "web", str(repository.path), *RECIPE[:4], "--label", "env=production")
    gate = place.directory.parent / "gate"
    assert place.fleetcast(*add, "--activate", f"test ! -e {gate} || exit 3; exec sleep 600").returncode == 0
    assert place.fleetcast("environment", "add", "web", "staging", "--label", "env=staging").returncode == 0
    for sha in shas[:2]:
        _deployed(place, "deploy", f"web@{sha}")
        _deployed(place, "deploy", f"web@{sha}", "--environment", "staging")

    gate.touch()
    assert place.fleetcast("deploy", f"web@{shas[2]}", "--environment", "staging").returncode == 1
    gate.unlink()
    goal = _goal(place, "production")
    assert_one_line(place.fleetcast("retry", "web"), 4, "no machine has failed", "nothing_failed")
    assert_one_line(place.fleetcast("retry", "web", "--environment", "qa"), 3, "it has production, staging")
    again = _deployed(place, "retry", "web", "--environment", "staging")
    assert again["environment"] == "staging"
    ended = f"deployment {again['id']} is SUCCEEDED already"
    assert_one_line(place.fleetcast("approve", "web", "--environment", "staging"), 4, ended, "deployment_ended")
    refusal = ("refuse", "web", "--reason", "a try", "--environment", "staging")
    assert_one_line(place.fleetcast(*refusal), 4, ended, "deployment_ended")
    assert (_runs(place, "staging"), _runs(place, "production")) == ([(one, "three")], [(other, "two")])

    unsaid = place.fleetcast("region", "rollback", "web")
    assert_one_line(unsaid, 4, "web runs here in production, staging: say which with --environment", "several_environments")
    assert_one_line(place.fleetcast("region", "rollback", "web", "--environment", "qa"), 3, "no goal for a service web in qa")
    back = place.fleetcast("region", "rollback", "web", "--environment", "staging", "--why", "a try")
    assert (back.returncode, back.stderr) == (0, "")
    assert "1 of 1 machine back" in back.stdout
    assert (_runs(place, "staging"), _runs(place, "production")) == ([(one, "two")], [(other, "two")])
    wait_until(lambda: len(_standing(place)) == 1, "control has heard of it")
    assert _standing(place) == ["staging"]
    assert _goal(place, "production") == goal, "nothing was written for production"

    _deployed(place, "deploy", f"web@{shas[2]}")
    assert (_runs(place, "staging"), _runs(place, "production")) == ([(one, "two")], [(other, "three")])
    assert _standing(place) == ["staging"], "what is deployed to production does not end it"
    _deployed(place, "deploy", f"web@{shas[2]}", "--environment", "staging")
    wait_until(lambda: _standing(place) == [], "it is over")
    assert (_runs(place, "staging"), _runs(place, "production")) == ([(one, "three")], [(other, "three")])
    assert place.tracebacks() == []


def _standing(place: Place) -> list[str]:
    """Environments in which a region went back past control."""
    return [each["rollback"]["environment"] for each in place.asked("/v1/status")["region_rollbacks"]]


def _goal(place: Place, environment: str) -> Any:
    """The generation and the deployment of what an environment's machines are told."""
    found = place.asked("/v1/services/web/environments")["items"]
    runs = next(one for one in found if one["name"] == environment)["runs"]
    return runs["generation"], runs["id"]
