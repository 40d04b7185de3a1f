"""Builds that hang, and whoever aborts what waits for them. One worker, so that what is not ended blocks everybody."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetcast.worker import leftovers
from place import show_gates

GONE_S = 20.0
Until = Callable[..., None]


@pytest.fixture(scope="module")
def place(start_place: Callable[..., Any]) -> Any:
    """Heartbeats at their usual interval: minutes."""
    return start_place(edit=show_gates)


def processes(place: Any) -> set[int]:
    return set(leftovers._started_in(place.directory / "workers"))


def hanging(place: Any, make_repository: Callable[..., Any], service: str) -> tuple[str, Path]:
    """``SERVICE@SHA`` whose build hangs until the file is there."""
    repository = make_repository(place.directory.parent / service)
    sha = repository.commit({"README": service})
    go = place.directory.parent / f"go-{service}"
    command = f"echo hanging; until test -e {go}; do sleep 0.1; done; date +%N > out"
    assert (
        place.fleetcast("service", "add", service, str(repository.path), "--build", command, "--output", "out").returncode == 0
    )
    return f"{service}@{sha}", go


def deploy(place: Any, what: str) -> Any:
    return place.json("deploy", what, "--no-wait")


def runs(place: Any, build: int) -> bool:
    return "\nhanging\n" in str(place.fleetcast("logs", str(build)).stdout)


def end_soon(place: Any, until: Until) -> None:
    until(lambda: not processes(place), "the build's processes are gone", deadline_s=GONE_S)


def test_an_abort_ends_the_build_and_the_worker_goes_on(place: Any, make_repository: Callable[..., Any], until: Until) -> None:
    what, _ = hanging(place, make_repository, "hangs")
    deployment = deploy(place, what)
    build = deployment["build"]
    until(lambda: runs(place, build), "the build hangs")
    follower = place.start("logs", str(build), "--follow", "--settings", str(place.directory / "settings.toml"))

    said = place.fleetcast("abort", deployment["id"])
    assert said.stdout.endswith(f"ABORTED: aborted while BUILDING; build {build} was stopped\n")
    end_soon(place, until)
    assert follower.end() == 0
    assert any("==> stopped: nobody wants it any more" in line for line in follower.lines)
    place.good()


def test_a_build_that_another_deployment_wants_goes_on(place: Any, make_repository: Callable[..., Any], until: Until) -> None:
    what, go = hanging(place, make_repository, "shared")
    first, second = deploy(place, what), deploy(place, what)
    assert first["build"] == second["build"]
    until(lambda: runs(place, first["build"]), "the build hangs")
    assert place.fleetcast("abort", first["id"]).stdout.endswith("ABORTED: aborted while BUILDING\n")
    go.touch()
    assert place.fleetcast("watch", second["id"]).returncode == 0


def test_a_build_is_aborted_by_its_number(
    place: Any, make_repository: Callable[..., Any], until: Until, failed: Callable[..., str], one_line: Callable[..., str]
) -> None:
    what, _ = hanging(place, make_repository, "numbered")
    deployment = deploy(place, what)
    build = deployment["build"]
    until(lambda: runs(place, build), "the build hangs")
    said = place.fleetcast("abort", f"build:{build}")
    assert re.fullmatch(
        rf"build {build} of numbered@\w+ FAILED: aborted; its processes end within 18 s [\w ]+\n", said.stdout
    ), said
    failed(place.fleetcast("watch", deployment["id"]), f"build {build} was aborted")
    end_soon(place, until)
    one_line(place.fleetcast("abort", f"build:{build}"), 4, "is FAILED already")
    one_line(place.fleetcast("abort", "build:ten"), 2, "write build:NUMBER")
    place.good()
    assert place.tracebacks() == []
