"""No room on a disk, in turn at each process: it is named, nothing is lost, and everything goes on when there is room.

A limit on the size of files takes the part of the full disk: it can be set on a running process, by any user, and taken back.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

Check = Callable[..., str]
ROOM_BYTES = 1 << 20
RECIPE = ("--build", "head -c 3000000 /dev/urandom > out", "--output", "out")


@pytest.fixture(scope="module")
def place(start_place: Callable[..., Any], make_repository: Callable[..., Any]) -> Any:
    place = start_place(machines=1)
    make_repository(place.directory.parent / "web").commit({"README": "web"})
    return place


@contextmanager
def no_room(place: Any, process: str, room_bytes: int = ROOM_BYTES) -> Iterator[None]:
    pid = place.pid(process)
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (room_bytes, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def begin(place: Any, service: str, *recipe: str) -> str:
    """Trigger a deployment; its id."""
    repository = place.directory.parent / "web"
    assert place.fleetcast("service", "add", service, str(repository), *(recipe or RECIPE)).returncode == 0
    sha = (repository / ".git/refs/heads/main").read_text().strip()
    return str(place.json("deploy", f"{service}@{sha}", "--no-wait")["id"])


def ends_well(place: Any, deployment: str) -> None:
    done = place.fleetcast("watch", deployment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCEEDED" in done.stdout
    assert place.tracebacks() == []


def test_at_a_machine(place: Any, until: Callable[..., None]) -> None:
    with no_room(place, "agent-local-1"):
        deployment = begin(place, "machine")
        until(lambda: "no room on this machine's disk" in place.fleetcast("status").stdout, "people are told")
        assert "local-1: it cannot fetch machine/" in place.fleetcast("status").stdout
        assert "DISTRIBUTING" in place.fleetcast("status", deployment).stdout
    ends_well(place, deployment)


def test_at_a_regions_bucket(place: Any, until: Callable[..., None]) -> None:
    with no_room(place, "region-local"):
        deployment = begin(place, "region")
        until(lambda: "File too large" in place.fleetcast("status", deployment).stdout, "the deployment says what it waits for")
    ends_well(place, deployment)


def test_at_a_workers_workspace(place: Any, failed: Check, until: Callable[..., None]) -> None:
    """Its own log is what has no room there. Tried as often as a build may be, perhaps by workers that have some."""
    talkative = ("--build", "yes | head -c 5000000; echo 1 > out", "--output", "out")
    with no_room(place, "worker-1"):
        done = place.fleetcast("watch", begin(place, "worker", *talkative))
        failed(done, "this worker failed: File too large: make room on this disk", "attempt 3 of 3")
    attempts = place.directory / "workers/worker-1/attempts"
    until(lambda: not list(attempts.iterdir()), "nothing is left of the attempts")
    ends_well(place, begin(place, "worker", *talkative))


def test_at_controls_database(place: Any, one_line: Check, until: Callable[..., None]) -> None:
    answers: list[Any] = []

    def refused() -> bool:
        answers.append(place.fleetcast("service", "add", "never", "file:///repo"))
        return bool(answers[-1].returncode)

    with no_room(place, "control", 16 << 10):
        until(refused, "its database takes no more")
    one_line(answers[-1], 5, "the database cannot be (used|written)", "make room|look after its disk")
    place.good("control")
    assert place.tracebacks() == []
