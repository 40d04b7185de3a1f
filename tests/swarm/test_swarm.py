"""Whole swarms over real sockets: what is on disk at the end, and where it came from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fleetcast.artifacts.manifest import Entry, EntryKind
from fleetcast.model.errors import Refused
from fleetcast.model.ids import MachineId


def test_a_first_deployment_takes_each_piece_from_the_origin_about_once(world: Any) -> None:
    artifact = world.artifact(size=6_000_000)
    names = [f"m{number}" for number in range(6)]
    fetches = {
        name: world.fetch(world.peer(name, "z1", f"rack-{number % 2}"), artifact, name) for number, name in enumerate(names)
    }
    for name, fetch in fetches.items():
        world.assert_complete(fetch, artifact, name)

    total = [fetch.progress().bytes for fetch in fetches.values()]
    origin, peer = sum(counts.origin for counts in total), sum(counts.peer for counts in total)
    assert sorted(world.region.leased) == list(range(artifact.pieces.count)), "each once, and never again"
    assert peer > origin
    # The zeros are one chunk that repeats: fetched once by each machine, and written everywhere.
    repeated = sum(artifact.pieces.payload(piece)[1] for piece in range(artifact.pieces.count))
    assert [counts.local for counts in total] == [repeated] * len(names)
    assert repeated > 0


def test_a_machine_alone_takes_everything_from_the_origin(world: Any) -> None:
    artifact = world.artifact()
    fetch = world.fetch(world.peer("alone"), artifact, "out")
    world.assert_complete(fetch, artifact, "out")
    assert fetch.progress().bytes.peer == 0


def test_an_artifact_may_be_one_file(world: Any, tmp_path: Path) -> None:
    source = tmp_path / "program"
    source.write_bytes(os.urandom(700_000))
    source.chmod(0o755)
    artifact = world.artifact_of(source)
    fetches = {name: world.fetch(world.peer(name), artifact, name) for name in ("one", "two")}
    for name, fetch in fetches.items():
        world.assert_complete(fetch, artifact, name)


def test_an_artifact_may_have_no_content(world: Any, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "inside").mkdir(parents=True)
    (source / "inside" / "empty").touch()
    entries = (Entry(b"inside", EntryKind.DIRECTORY), Entry(b"inside/empty", EntryKind.FILE))
    artifact = world.artifact_without_content(source, entries)
    fetches = {name: world.fetch(world.peer(name), artifact, name) for name in ("one", "two")}
    for name, fetch in fetches.items():
        world.assert_complete(fetch, artifact, name)


def test_the_swarm_finishes_without_the_origin_when_together_it_has_every_piece(world: Any) -> None:
    artifact = world.artifact(size=8_000_000)
    world.region.origin_away = True
    payload = {
        name: world.partial(artifact, name, lambda piece, own=own: piece % 2 == own) for own, name in enumerate(("a", "b"))
    }
    names = ("a", "b", "c")
    fetches = {name: world.fetch(world.peer(name), artifact, name) for name in names}
    for name, fetch in fetches.items():
        world.assert_complete(fetch, artifact, name)
    # What was on disk counts for where it came from; the rest came from each other.
    assert [fetches[name].progress().bytes.origin for name in names] == [payload["a"], payload["b"], 0]
    assert all(fetch.progress().bytes.peer > 0 for fetch in fetches.values())


def test_the_swarm_goes_on_without_its_region(world: Any) -> None:
    artifact = world.artifact(size=3_000_000)
    world.region.allowed = {MachineId("b"): 0}
    a, b = world.peer("a"), world.peer("b")
    waiting = world.fetch(b, artifact, "b")
    world.until(lambda: world.region.tracker.members(artifact.root.digest, 0.0) == 1)
    # It holds a ticket now, and whoever joins dials it; then the region goes.
    done = world.fetch(a, artifact, "a")
    world.until(lambda: "1 neighbours" in waiting.progress().waiting_for or waiting.progress().done)
    done.wait(30)
    world.region.away = True
    world.assert_complete(done, artifact, "a")
    world.assert_complete(waiting, artifact, "b")
    assert waiting.progress().bytes.origin == 0


def test_equal_chunks_of_releases_that_are_here_do_not_travel(world: Any) -> None:
    old = world.artifact("old", size=8_000_000)
    release = world.release(old, "release")
    changed = world.directory / "new"
    world.artifact("new", size=8_000_000)
    data = bytearray((changed / "a-large").read_bytes())
    data[4_000_000:4_000_010] = b"0123456789"
    (changed / "a-large").write_bytes(data)
    new = world.artifact_of(changed)
    fetch = world.fetch(world.peer("m"), new, "incoming", [world.directory / "not-there", release])
    world.assert_complete(fetch, new, "incoming")
    counts = fetch.progress().bytes
    assert counts.local > 0.85 * len(new.content)
    assert 0 < counts.origin < 0.15 * len(new.content)


def test_a_damaged_donor_is_not_believed(world: Any) -> None:
    artifact = world.artifact()
    release = world.release(artifact, "release")
    with open(release / "tree" / "a-large", "r+b") as file:
        file.seek(1_000_000)
        file.write(b"damage")
    fetch = world.fetch(world.peer("m"), artifact, "incoming", [release])
    world.assert_complete(fetch, artifact, "incoming")
    assert fetch.progress().bytes.origin > 0


def test_pieces_of_manifests_that_are_here_do_not_travel(world: Any) -> None:
    source = write_many(world.directory / "source", 600)
    release = world.release(world.artifact_of(source), "release")
    sorted(source.iterdir())[300].write_bytes(b"now longer than it was")
    new = world.artifact_of(source)
    fetch = world.fetch(world.peer("m"), new, "incoming", [world.directory / "not-there", release])
    world.assert_complete(fetch, new, "incoming")
    pieces = len(new.root.manifest_pieces)
    # The first one, for it tells the content's size and digest; that of the entry; and the one of the chunks.
    assert pieces >= 4
    assert len([piece for piece in world.region.leased if piece < pieces]) <= 3


def test_a_release_that_is_here_already_takes_nobody_else(world: Any) -> None:
    artifact = world.artifact()
    release = world.release(artifact, "release")
    world.region.origin_away = True
    fetch = world.fetch(world.peer("m"), artifact, "incoming", [release])
    world.assert_complete(fetch, artifact, "incoming")
    assert fetch.progress().bytes.local == len(artifact.content)


def test_what_is_no_manifest_is_no_donor(world: Any) -> None:
    artifact = world.artifact()
    release = world.release(artifact, "release")
    (release / "manifest").write_bytes(artifact.manifest[:-1] + b"?")
    fetch = world.fetch(world.peer("m"), artifact, "incoming", [release])
    world.assert_complete(fetch, artifact, "incoming")
    assert fetch.progress().bytes.origin > 0


def write_many(directory: Path, files: int) -> Path:
    """Small files with names so long that the manifest has several pieces."""
    random = Random(5)
    directory.mkdir()
    for number in range(files):
        (directory / random.randbytes(120).hex()).write_bytes(f"file {number}".encode())
    return directory


def test_what_was_fetched_is_shared_and_can_be_run_at_once(world: Any) -> None:
    artifact = world.artifact()
    first = world.peer("first")
    world.assert_complete(world.fetch(first, artifact, "incoming"), artifact, "incoming")
    subprocess.run([world.directory / "incoming" / "tree" / "run"], check=True)  # not "text file busy"

    release = world.directory / "release"
    (world.directory / "incoming").rename(release)
    first.share(artifact.root, artifact.root_digest, release)
    world.region.origin_away = True
    fetch = world.fetch(world.peer("second"), artifact, "second")
    world.assert_complete(fetch, artifact, "second")
    assert fetch.progress().bytes.peer > 0


def test_a_release_of_an_earlier_life_is_shared_until_it_is_not(world: Any) -> None:
    artifact = world.artifact()
    world.region.origin_away = True
    holder = world.peer("holder")
    release = world.release(artifact, "release")
    holder.share(artifact.root, artifact.root_digest, release)
    world.assert_complete(world.fetch(world.peer("a"), artifact, "a"), artifact, "a")

    holder.unshare(artifact.root.digest)
    world.peers[1].close()
    world.until(lambda: not world.region.tracker.alive(artifact.root.digest, MachineId("holder"), 0.0))
    late = world.fetch(world.peer("b"), artifact, "b")
    world.until(lambda: late.progress().waiting_for.endswith("0 neighbours"))
    assert late.progress().bytes.total == 0


def test_one_artifact_is_fetched_once_at_a_time(world: Any) -> None:
    artifact = world.artifact()
    world.region.origin_away = True
    peer = world.peer("m")
    fetch = world.fetch(peer, artifact, "one")
    with pytest.raises(Refused, match="fetched already"):
        world.fetch(peer, artifact, "two")
    fetch.cancel()
    assert not fetch.wait(0)
    world.region.origin_away = False
    world.assert_complete(world.fetch(peer, artifact, "two"), artifact, "two")


def test_a_directory_that_cannot_be_used_is_an_end_with_a_reason(world: Any) -> None:
    artifact = world.artifact()
    (world.directory / "file").touch()
    told: list[str] = []
    peer = world.peer("m")
    fetch = peer.fetch(artifact.root, artifact.root_digest, world.directory / "file", (), lambda: told.append("ended"))
    world.until(lambda: told == ["ended"])
    assert not fetch.wait(0)
    assert "directory" in fetch.progress().error
