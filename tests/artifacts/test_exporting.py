"""An artifact taken out is what was packed, or it is not there."""

from __future__ import annotations

import io
import os
import random
import resource
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetcast.artifacts import exporting
from fleetcast.artifacts.comparing import differences, wrong_contents
from fleetcast.artifacts.manifest import Manifest, decode
from fleetcast.artifacts.packing import pack
from fleetcast.artifacts.tree import remove_tree
from fleetcast.model.errors import Corrupt, NotFound, Refused, Unavailable
from fleetcast.model.limits import MIB

ODD = b"odd \xff name"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    rng = random.Random(11)
    root = tmp_path / "output"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "large").write_bytes(rng.randbytes(3 * MIB + 1))
    (root / "run").write_bytes(b"#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "empty").touch()
    (root / "link").symlink_to("deep/er")
    (root / "deep" / ("n" * 200)).write_bytes(b"a name for which a plain tar header has no room")
    Path(os.fsdecode(os.fsencode(root) + b"/" + ODD)).write_bytes(b"odd")
    return root


@pytest.fixture
def packed(output: Path) -> tuple[Manifest, bytes]:
    received = bytearray()
    manifest = pack(output, received.extend).manifest
    return decode(manifest), bytes(received)


def pieces(content: bytes, size: int = 700_001) -> Iterator[memoryview]:
    """As a reader gives them: each is overwritten by the next."""
    buffer = bytearray(size)
    for at in range(0, len(content), size):
        piece = content[at : at + size]
        buffer[: len(piece)] = piece
        yield memoryview(buffer)[: len(piece)]


def breaking(content: bytes, error: BaseException) -> Iterator[memoryview]:
    yield memoryview(content)[:MIB]
    raise error


def listing(tree: Path) -> dict[bytes, tuple[int, bytes]]:
    """Mode and content, or target, by path."""
    found = {}
    for path in tree.rglob("*"):
        status = path.lstat()
        target = os.fsencode(path.readlink()) if path.is_symlink() else None
        what = target or (path.read_bytes() if path.is_file() else b"")
        found[os.fsencode(path.relative_to(tree))] = (stat.S_IFMT(status.st_mode) | (status.st_mode & 0o777), what)
    return found


def test_a_directory_is_what_was_packed(packed: tuple[Manifest, bytes], output: Path, tmp_path: Path) -> None:
    manifest, content = packed
    old = os.umask(0o077)
    try:
        exporting.to_directory(manifest, pieces(content), tmp_path / "out")
    finally:
        os.umask(old)
    made = listing(tmp_path / "out")
    assert {path: what for path, (_, what) in made.items()} == {path: what for path, (_, what) in listing(output).items()}
    assert made[b"run"][0] == stat.S_IFREG | 0o755
    assert made[b"large"][0] == stat.S_IFREG | 0o644
    assert made[b"deep"][0] == stat.S_IFDIR | 0o755
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755
    assert list(differences(manifest, tmp_path / "out")) == []


def test_a_tar_is_the_same_every_time_and_unpacks_to_it(packed: tuple[Manifest, bytes], output: Path, tmp_path: Path) -> None:
    manifest, content = packed
    first, second = io.BytesIO(), io.BytesIO()
    exporting.to_tar(manifest, pieces(content), first)
    exporting.to_tar(manifest, pieces(content, 65_537), second)
    assert first.getvalue() == second.getvalue()
    assert len(first.getvalue()) % tarfile.RECORDSIZE == 0
    # With tar itself: the filters of tarfile came with Python 3.11.4.
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xpf", "-", "-C", tmp_path / "out"], input=first.getvalue(), check=True)
    assert list(differences(manifest, tmp_path / "out")) == []


def test_an_empty_directory_may_be_the_target_and_nothing_else(packed: tuple[Manifest, bytes], tmp_path: Path) -> None:
    manifest, content = packed
    (tmp_path / "empty").mkdir()
    exporting.to_directory(manifest, pieces(content), tmp_path / "empty")
    (tmp_path / "file").write_text("somebody's")
    (tmp_path / "nothing").touch()
    for taken in ("empty", "file", "nothing", "missing/out"):
        with pytest.raises(Refused):
            exporting.to_directory(manifest, pieces(content), tmp_path / taken)
    for taken in ("empty", "file", "missing/out.tar"):
        with pytest.raises(Refused):
            exporting.to_tar_file(manifest, pieces(content), tmp_path / taken)
    assert (tmp_path / "file").read_text() == "somebody's"


@pytest.mark.parametrize(
    "error", [Corrupt("corrupt_source", "not what was built"), Unavailable("gone", "gone"), KeyboardInterrupt()]
)
def test_what_breaks_off_leaves_nothing(packed: tuple[Manifest, bytes], tmp_path: Path, error: BaseException) -> None:
    manifest, content = packed
    target = tmp_path / "place"
    target.mkdir()
    with pytest.raises(type(error)):
        exporting.to_directory(manifest, breaking(content, error), target / "out")
    with pytest.raises(type(error)):
        exporting.to_tar_file(manifest, breaking(content, error), target / "out.tar")
    assert list(target.iterdir()) == []


def test_a_disk_without_room_leaves_nothing(packed: tuple[Manifest, bytes], output: Path, tmp_path: Path) -> None:
    """In a process of its own, whose files may not be as large as the artifact's largest."""
    place = tmp_path / "place"
    place.mkdir()
    program = """
import sys
from pathlib import Path
from fleetcast.artifacts import exporting
from fleetcast.artifacts.manifest import decode
from fleetcast.artifacts.packing import pack
from fleetcast.model.errors import Refused
received = bytearray()
manifest = decode(pack(Path(sys.argv[1]), received.extend).manifest)
for export, name in ((exporting.to_directory, "out"), (exporting.to_tar_file, "out.tar")):
    try:
        export(manifest, iter([memoryview(received)]), Path(sys.argv[2]) / name)
    except Refused as error:
        print(error.message)
"""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, 2 * MIB))

    done = subprocess.run(
        [sys.executable, "-c", program, str(output), str(place)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=limited,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("File too large" in line and "make room" in line for line in lines)
    assert list(place.iterdir()) == []
    with pytest.raises(Refused, match="No space left on device"):
        exporting.to_tar_file(packed[0], pieces(packed[1]), Path("/dev/full"))


def test_a_difference_is_named(packed: tuple[Manifest, bytes], tmp_path: Path) -> None:
    manifest, content = packed
    tree = tmp_path / "out"
    exporting.to_directory(manifest, pieces(content), tree)

    def found() -> dict[str, str]:
        return {difference.path: difference.what for difference in differences(manifest, tree)}

    with open(tree / "large", "r+b") as file:
        file.seek(2 * MIB)
        file.write(b"another")
    assert found() == {"'large'": "has another content"}
    (tree / "extra").mkdir()
    (tree / "extra" / "more").touch()
    (tree / "run").chmod(0o644)
    (tree / "link").unlink()
    (tree / "link").symlink_to("deep")
    now = found()
    assert now["'extra'"] == "is not in the artifact"
    assert now["'run'"] == "is not executable, and should be"
    assert now["'link'"] == "leads to 'deep', not to 'deep/er'"
    assert "'extra/more'" not in now
    (tree / "empty").write_text("no more")
    remove_tree(tree / "deep")
    now = found()
    assert now["'empty'"] == "has 7 bytes, not 0"
    assert now["'deep'"] == now["'deep/er'"] == "is missing"
    with pytest.raises(NotFound):
        list(differences(manifest, tmp_path / "nowhere"))


def test_small_files_that_share_a_chunk_are_named_together(tmp_path: Path) -> None:
    root = tmp_path / "small"
    root.mkdir()
    for number in range(3):
        (root / str(number)).write_text(f"number {number}")
    received = bytearray()
    manifest = decode(pack(root, received.extend).manifest)
    assert manifest.chunks == 1
    assert {difference.path for difference in wrong_contents(manifest, [0])} == {"'0'", "'1'", "'2'"}
    (root / "1").unlink()
    told = {difference.path: difference.what for difference in differences(manifest, root)}
    assert told["'1'"] == "is missing"
    assert told["'0'"].startswith("cannot be told")
