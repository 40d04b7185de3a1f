"""Retention in a whole installation: what is collected, what stays, and going back to what was collected."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from place import Place, Repository, assert_one_line
from running import wait_until

RULES = {
    "region_retention_count": 0,
    "main_retention_count": 1,
    "retention_grace_s": 0.0,
}
RECIPE = ("--build", "cp text out", "--output", "out")


def _digest(place: Place, sha: str) -> str:
    (found,) = (item for item in place.json("artifact", "list", "web")["items"] if item["commit_sha"] == sha)
    return str(found["digest"])


def _copies(place: Place, digest: str) -> list[str]:
    """Regions whose bucket has anything of an artifact."""
    found = (place.directory / "regions").glob(f"*/bucket/blobs/artifacts/{digest}")
    return sorted(copy.relative_to(place.directory / "regions").parts[0] for copy in found)


def _shown(place: Place, sha: str) -> tuple[str | None, bool]:
    detail = place.json("artifact", "show", f"web@{sha}")
    return detail["collected"], detail["pinned"]


def _five_deployed(place: Place, repository: Repository) -> list[str]:
    """Commits of ``web``; nobody needs the first."""
    assert place.fleetcast("service", "add", "web", str(repository.path), *RECIPE).returncode == 0
    commits = []
    for version in range(5):
        commits.append(repository.commit({"text": f"version {version}"}))
        assert place.fleetcast("deploy", f"web@{commits[-1]}").returncode == 0
    return commits


@pytest.mark.timeout(300)
def test_a_collected_release_is_gone_and_comes_back(tmp_path: Path, start_place: Callable[..., Place]) -> None:
    place = start_place(machines=2, regions=("eu", "us"), control=RULES)
    repository = Repository(tmp_path / "web")
    first, second, third, _, newest = _five_deployed(place, repository)
    digest = _digest(place, first)
    assert _copies(place, digest) == ["eu", "us"]

    # What would go, and why the rest stays.
    planned = {item["artifacts"][0].rpartition("/")[2]: item for item in place.json("artifact", "collect", "--dry-run")}
    assert {sha for sha, item in planned.items() if item["regions"]["collect"]} == {first}
    assert not any(item["main"]["collect"] for item in planned.values())
    assert planned[newest]["main"]["reason"] == "it is the goal of web in production"
    assert planned[third]["main"]["reason"] == "it is one of the last that succeeded for web in production"
    said = place.fleetcast("artifact", "collect", "--dry-run").stdout.splitlines()
    assert said[-1].startswith("would be collected: 0 of 5 from the main store (0 B), 1 from each region's bucket")

    # A pin is stronger than the rules.
    assert "never collected" in place.fleetcast("artifact", "pin", f"web@{first}").stdout
    assert place.json("artifact", "collect")["regions"] == []
    assert "pinned" in place.fleetcast("artifact", "list", "web").stdout
    assert place.fleetcast("artifact", "unpin", f"web@{first}").returncode == 0

    assert place.json("artifact", "collect")["regions"] == [f"web/{first}"]
    wait_until(lambda: _copies(place, digest) == [], "the regions delete their copies")
    assert _shown(place, first) == ("regions", False)
    assert "main store only" in place.fleetcast("artifact", "list", "web").stdout

    # Going back to it copies it again.
    back = place.fleetcast("rollback", "web", "--to", first)
    assert (back.returncode, back.stderr) == (0, "")
    assert _copies(place, digest) == ["eu", "us"]
    assert _shown(place, first) == (None, False)

    # Of the second nobody needs anything any more, once another one is there that is not needed either.
    assert place.fleetcast("build", f"web@{repository.commit({'text': 'another'})}").returncode == 0
    collected = place.json("artifact", "collect")
    assert collected["main"] == [f"web/{second}"]
    built = place.directory / "control" / "bucket" / "blobs" / "builds"
    wait_until(lambda: len(list(built.iterdir())) == 5, "the main store has five of six")
    assert _shown(place, second) == ("main", False)
    assert_one_line(place.fleetcast("rollback", "web", "--to", second), 4, f"fleetcast deploy web@{second} --rebuild")
    assert_one_line(
        place.fleetcast("artifact", "export", f"web@{second}", str(tmp_path / "out"), "--unsigned"), 3, "was collected"
    )
    assert_one_line(place.fleetcast("deploy", f"web@{second}"), 4, "artifact_collected")
    again = place.fleetcast("deploy", f"web@{second}", "--rebuild")
    assert (again.returncode, again.stderr) == (0, "")
    assert place.tracebacks() == []


@pytest.mark.timeout(300)
def test_what_was_collected_goes_though_everybody_dies(tmp_path: Path, start_place: Callable[..., Place]) -> None:
    """The region is stopped when it would delete its copy; it and control are killed before anything is deleted there."""
    place = start_place(machines=1, control=RULES)
    first, *_ = _five_deployed(place, Repository(tmp_path / "web"))
    digest = _digest(place, first)
    region, control = place.pid("region-local"), place.pid("control")
    os.kill(region, signal.SIGSTOP)
    assert place.json("artifact", "collect")["regions"] == [f"web/{first}"]
    assert _copies(place, digest) == ["local"]
    os.kill(control, signal.SIGKILL)
    os.kill(region, signal.SIGKILL)

    wait_until(lambda: _copies(place, digest) == [], "the copy is deleted")
    assert _shown(place, first) == ("regions", False)
    back = place.fleetcast("rollback", "web", "--to", first)
    assert (back.returncode, back.stderr) == (0, "")
    assert _copies(place, digest) == ["local"]
