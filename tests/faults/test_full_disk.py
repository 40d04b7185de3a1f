"""Disks that are really full, or may only be read: each process in turn has a small one, and gets room again.

It takes root and the right to mount; without, these tests fail and say so.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from disks import MIB, Disk, disks, read_only
from place import Place, Repository, assert_failed, assert_one_line, bring_up, fleetcast
from running import wait_until

CONTENT_BYTES = 12 * MIB
RECIPE = ("--build", f"head -c {CONTENT_BYTES} /dev/urandom > out", "--output", "out")


@pytest.fixture(autouse=True)
def _watched() -> None:
    """No service of another test runs here that could be watched."""


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, dict[str, Disk]]]:
    """Two machines; control, the region's bucket, the worker and one of the machines have disks of their own."""
    temporary = tmp_path_factory.mktemp("disks")
    data = temporary / "fleetcast-data"
    places = ("control", "regions/local/bucket", "workers/worker-1", "machines/local-1")
    with disks(*(data / place for place in places)) as mounted:
        place = bring_up(temporary, machines=2)
        try:
            place.run.wait_for("^ready")
            place.wait_for_machines(2)
            Repository(temporary / "web").commit({"README": "web"})
            yield place, mounted
        finally:
            place.end()
    place.close()


@pytest.fixture
def place(company: tuple[Place, dict[str, Disk]]) -> Iterator[Place]:
    yield company[0]
    assert company[0].tracebacks() == []


@pytest.fixture
def disk(company: tuple[Place, dict[str, Disk]], request: pytest.FixtureRequest) -> Disk:
    return company[1][request.param]


def begin(place: Place, service: str, *recipe: str) -> str:
    """Trigger a deployment; its id."""
    repository = place.directory.parent / "web"
    done = place.fleetcast("service", "add", service, str(repository), *(recipe or RECIPE))
    assert done.returncode == 0, done.stderr
    sha = (repository / ".git/refs/heads/main").read_text().strip()
    return str(place.json("deploy", f"{service}@{sha}", "--no-wait")["id"])


def state(place: Place, deployment: str) -> Any:
    return place.json("status", deployment)["deployment"]


def close_the_log(disk: Disk) -> None:
    """Have control's database need room for whatever it writes next: what its write-ahead log holds on to is given back, which
    else would do for minutes on a full disk."""

    def given_back() -> bool:
        with closing(sqlite3.connect(disk.directory / "fleetcast.db", isolation_level=None)) as connection:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    wait_until(given_back, "nobody reads the log")


def ends_well(place: Place, deployment: str) -> None:
    done = place.fleetcast("watch", deployment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCEEDED" in done.stdout


def current(place: Place, machine: str, service: str) -> bytes:
    """What a machine runs."""
    return (place.directory / "machines" / machine / "services/production" / service / "current/out").read_bytes()


@pytest.mark.parametrize("disk", ["local-1"], indirect=True)
def test_at_a_machine(place: Place, disk: Disk) -> None:
    """The other machine has it meanwhile; this one goes on by itself."""
    with disk.full(room_bytes=CONTENT_BYTES // 2):
        deployment = begin(place, "machine")
        wait_until(lambda: "local-1: it cannot fetch machine/" in place.fleetcast("status").stdout, "people are told")
        assert "no room on this machine's disk" in place.fleetcast("status").stdout
        assert "no room on this machine's disk" in place.fleetcast("machine", "show", "local-1").stdout
        wait_until(lambda: state(place, deployment)["progress"]["active"] == 1, "the other machine has it")
        assert state(place, deployment)["state"] == "DISTRIBUTING"
        assert not (disk.directory / "services/production/machine/current").exists()
    ends_well(place, deployment)
    assert current(place, "local-1", "machine") == current(place, "local-2", "machine")


@pytest.mark.parametrize("disk", ["bucket"], indirect=True)
def test_at_a_regions_bucket(place: Place, disk: Disk) -> None:
    with disk.full(room_bytes=CONTENT_BYTES // 2):
        deployment = begin(place, "region")
        wait_until(lambda: "No space left" in place.fleetcast("status", deployment).stdout, "it says what it waits for")
        assert state(place, deployment)["state"] == "REPLICATING"
        assert "look after the disk" in place.fleetcast("status", deployment).stdout
    ends_well(place, deployment)


@pytest.mark.parametrize("disk", ["worker-1"], indirect=True)
def test_at_a_build(place: Place, disk: Disk) -> None:
    """The command's output has no room: it fails as commands do, and its last lines say why."""
    recipe = ("--build", f"head -c {CONTENT_BYTES} /dev/zero > out", "--output", "out")
    with disk.full(room_bytes=CONTENT_BYTES // 2):
        done = place.fleetcast("watch", begin(place, "build", *recipe))
        assert_failed(done, "the build command exited 1")
        assert "No space left on device" in done.stderr, "its last words are shown"
    wait_until(lambda: not list((disk.directory / "attempts").iterdir()), "nothing is left of the attempt")
    place.good()


@pytest.mark.parametrize("disk", ["worker-1"], indirect=True)
def test_at_a_workers_own_files(place: Place, disk: Disk) -> None:
    """Not the build's fault: it is tried as often as a build may be, perhaps by workers that have room."""
    with disk.full():
        assert_failed(place.fleetcast("watch", begin(place, "workspace")), "No space left on device", "make room on this disk")
    place.good()


@pytest.mark.parametrize("disk", ["control"], indirect=True)
def test_at_control(place: Place, disk: Disk) -> None:
    """What was taken on before is kept, and goes on; what cannot be is refused."""
    kept = begin(place, "kept")
    ends_well(place, kept)
    answers = []

    def refused() -> bool:
        disk.fill()
        answers.append(place.fleetcast("service", "add", f"never-{len(answers)}", "file:///repo/" + "x" * 900))
        return bool(answers[-1].returncode)

    close_the_log(disk)
    with disk.full():
        wait_until(refused, "its database takes no more", 90)
        assert_one_line(answers[-1], 5, "the database cannot be (used|written)", "make room|look after its disk")
        assert "SUCCEEDED" in place.fleetcast("status", kept).stdout, "what is there can be read"
    names = place.fleetcast("service", "list").stdout
    assert all((f"never-{number}" in names) == (done.returncode == 0) for number, done in enumerate(answers))
    place.good()


@pytest.mark.parametrize("disk", ["control"], indirect=True)
def test_at_the_main_store(place: Place, disk: Disk) -> None:
    """A build's content has no room there, and then the database beside it has none either. The build waits for it."""

    def told_of_the_database() -> bool:
        disk.fill()  # what the worker could not upload is deleted, and tried again
        return "alarm: control: the database cannot be" in place.fleetcast("status").stdout

    with disk.full(room_bytes=CONTENT_BYTES // 4):
        deployment = begin(place, "store")
        wait_until(lambda: "No space left on device" in place.log("worker-1"), "the worker is told")
        close_the_log(disk)
        with disk.full():
            wait_until(told_of_the_database, "people are told", 90)
    ends_well(place, deployment)
    wait_until(lambda: "alarm: control" not in place.fleetcast("status").stdout, "that is over")


def test_a_directory_that_may_only_be_read(tmp_path: Path) -> None:
    """Root too: modes do not keep it from writing."""
    assert os.geteuid() == 0
    with read_only(tmp_path):
        done = fleetcast("up", str(tmp_path / "company"))
        assert_one_line(done, 2, "Read-only file system", "choose another directory")
    (tmp_path / "company").mkdir()
    with read_only(tmp_path / "company"):
        assert_one_line(fleetcast("up", str(tmp_path / "company")), 2, "Read-only file system", "choose another directory")
