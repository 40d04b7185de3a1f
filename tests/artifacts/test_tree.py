"""Files laid out empty, filled by chunks in any order and from many threads, are the files that were packed."""

from __future__ import annotations

import random
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleetcast.artifacts import tree
from fleetcast.artifacts.extents import Extents
from fleetcast.artifacts.manifest import Manifest, decode
from fleetcast.artifacts.packing import pack
from fleetcast.artifacts.tree_files import DESCRIPTORS_KEPT, TreeFiles
from fleetcast.model.errors import Corrupt
from fleetcast.model.limits import MIB


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Large files, many small ones, an empty one, an executable, a symlink."""
    rng = random.Random(7)
    root = tmp_path / "output"
    (root / "small").mkdir(parents=True)
    (root / "large").write_bytes(rng.randbytes(3 * MIB + 1))
    (root / "run").write_bytes(b"#!/bin/sh\necho it runs\n")
    (root / "run").chmod(0o755)
    (root / "empty").touch()
    (root / "link").symlink_to("small/7")
    for number in range(3 * DESCRIPTORS_KEPT):
        (root / "small" / str(number)).write_bytes(rng.randbytes(rng.randrange(4000)))
    return root


@pytest.fixture
def packed(output: Path) -> tuple[Manifest, bytes]:
    received = bytearray()
    manifest = pack(output, received.extend).manifest
    return decode(manifest), bytes(received)


def fill(manifest: Manifest, content: bytes, root: Path) -> None:
    offsets = manifest.chunk_offsets()
    order = list(range(manifest.chunks))
    random.Random(3).shuffle(order)
    view = memoryview(content)
    with TreeFiles(Extents(manifest.entries), root, writable=True) as files, ThreadPoolExecutor(8) as threads:

        def place(index: int) -> None:
            files.write(offsets[index], view[offsets[index] : offsets[index] + manifest.chunk_lengths[index]])

        list(threads.map(place, order))


def snapshot(root: Path) -> dict[str, bytes | str | None]:
    found: dict[str, bytes | str | None] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        found[name] = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_filled_and_sealed_tree_is_the_output(tmp_path: Path, output: Path, packed: tuple[Manifest, bytes]) -> None:
    manifest, content = packed
    root = tmp_path / "tree"
    tree.lay_out(manifest, root)
    fill(manifest, content, root)
    tree.seal(manifest, root)
    assert snapshot(root) == snapshot(output)
    assert tree.verify(manifest, root) == []
    modes = {name: stat.S_IMODE((root / name).stat().st_mode) for name in (".", "small", "run", "large")}
    assert modes == {".": 0o555, "small": 0o555, "run": 0o555, "large": 0o444}
    assert subprocess.run([root / "run"], capture_output=True, check=True).stdout == b"it runs\n"


def test_laying_out_again_keeps_what_is_there(tmp_path: Path, output: Path, packed: tuple[Manifest, bytes]) -> None:
    manifest, content = packed
    root = tmp_path / "tree"
    tree.lay_out(manifest, root)
    fill(manifest, content, root)
    tree.seal(manifest, root)
    tree.lay_out(manifest, root)
    assert tree.verify(manifest, root) == []
    fill(manifest, content, root)
    assert snapshot(root) == snapshot(output)


def test_laying_out_and_sealing_can_be_stopped_and_gone_on_with(
    tmp_path: Path, output: Path, packed: tuple[Manifest, bytes]
) -> None:
    manifest, content = packed
    root = tmp_path / "tree"

    def after(entries: int) -> Callable[[], bool]:
        answers = iter([False] * entries)
        return lambda: next(answers, True)

    with pytest.raises(tree.TreeStopped):
        tree.lay_out(manifest, root, after(3))
    assert len(list(root.iterdir())) == 3
    tree.lay_out(manifest, root)
    fill(manifest, content, root)
    with pytest.raises(tree.TreeStopped):
        tree.seal(manifest, root, after(3))
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    tree.seal(manifest, root)
    assert stat.S_IMODE(root.stat().st_mode) == 0o555
    assert snapshot(root) == snapshot(output)


def test_laying_out_mends_what_is_of_another_kind(tmp_path: Path, output: Path, packed: tuple[Manifest, bytes]) -> None:
    manifest, content = packed
    root = tmp_path / "tree"
    root.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "small").symlink_to(outside)
    (root / "large").mkdir()
    (root / "large" / "below").touch()
    (root / "empty").write_bytes(b"not empty")
    (root / "link").symlink_to("large")
    tree.lay_out(manifest, root)
    fill(manifest, content, root)
    assert snapshot(root) == snapshot(output)
    assert list(outside.iterdir()) == []


def test_verify_names_the_chunks_that_are_wrong(tmp_path: Path, packed: tuple[Manifest, bytes]) -> None:
    manifest, content = packed
    root = tmp_path / "tree"
    tree.lay_out(manifest, root)
    assert len(tree.verify(manifest, root)) == manifest.chunks
    fill(manifest, content, root)
    with open(root / "large", "r+b") as file:
        file.seek(2 * MIB)
        file.write(b"bit rot")
    (bad,) = tree.verify(manifest, root)
    offsets = manifest.chunk_offsets()
    assert (
        offsets[bad]
        <= 2 * MIB + content.index(memoryview(content)[: manifest.chunk_lengths[0]].tobytes())
        < offsets[bad + 1] + MIB
    )
    (root / "large").unlink()
    assert len(tree.verify(manifest, root)) > 1


def test_a_renamed_parent_does_not_matter(tmp_path: Path, packed: tuple[Manifest, bytes]) -> None:
    manifest, content = packed
    tree.lay_out(manifest, tmp_path / "incoming" / "tree")
    with TreeFiles(Extents(manifest.entries), tmp_path / "incoming" / "tree", writable=True) as files:
        files.write(0, memoryview(content)[: MIB // 2])
        (tmp_path / "incoming").rename(tmp_path / "release")
        files.write(MIB // 2, memoryview(content)[MIB // 2 :])
        read = memoryview(bytearray(len(content)))
        files.read_into(0, read)
    assert read == content


def test_sendfile_sends_any_range_across_files(tmp_path: Path, packed: tuple[Manifest, bytes]) -> None:
    manifest, content = packed
    root = tmp_path / "tree"
    tree.lay_out(manifest, root)
    fill(manifest, content, root)
    start, length = 1000, len(content) - 2000
    sender, receiver = socket.socketpair()
    sender.settimeout(10)
    received = bytearray()

    def receive() -> None:
        while block := receiver.recv(MIB):
            received.extend(block)

    with sender, receiver, TreeFiles(Extents(manifest.entries), root) as files:
        thread = threading.Thread(target=receive)
        thread.start()
        files.sendfile(sender, start, length)
        sender.shutdown(socket.SHUT_WR)
        thread.join()
    assert received == content[start : start + length]


def test_a_receiver_that_takes_nothing_times_out(tmp_path: Path, packed: tuple[Manifest, bytes]) -> None:
    manifest, content = packed
    root = tmp_path / "tree"
    tree.lay_out(manifest, root)
    sender, receiver = socket.socketpair()
    sender.settimeout(0.05)
    with sender, receiver, TreeFiles(Extents(manifest.entries), root) as files, pytest.raises(TimeoutError):
        files.sendfile(sender, 0, len(content))


def test_few_descriptors_stay_open_and_none_after_closing(tmp_path: Path, packed: tuple[Manifest, bytes]) -> None:
    manifest, content = packed
    root = tmp_path / "tree"
    tree.lay_out(manifest, root)
    before = open_descriptors()
    files = TreeFiles(Extents(manifest.entries), root)
    files.read_into(0, memoryview(bytearray(len(content))))
    assert open_descriptors() <= before + 1 + DESCRIPTORS_KEPT
    files.close()
    files.close()
    assert open_descriptors() == before
    with pytest.raises(ValueError, match="closed"):
        files.read_into(0, memoryview(bytearray(1)))


def test_a_symlink_in_a_files_place_is_not_followed(tmp_path: Path, packed: tuple[Manifest, bytes]) -> None:
    manifest, content = packed
    root = tmp_path / "tree"
    tree.lay_out(manifest, root)
    target = tmp_path / "precious"
    target.write_bytes(bytes(3 * MIB + 1))
    (root / "large").unlink()
    (root / "large").symlink_to(target)
    with TreeFiles(Extents(manifest.entries), root, writable=True) as files, pytest.raises(Corrupt, match="large"):
        files.write(0, memoryview(content))
    assert target.read_bytes() == bytes(3 * MIB + 1)


def test_directories_that_nobody_may_enter_are_made_ours_again(tmp_path: Path) -> None:
    (tmp_path / "tree" / "closed" / "inner").mkdir(parents=True)
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o750)
    (tmp_path / "tree" / "link").symlink_to(precious)
    for name in ("tree/closed/inner", "tree/closed", "tree"):
        (tmp_path / name).chmod(0)
    tree.unseal(tmp_path / "tree")
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("tree", "tree/closed", "tree/closed/inner")}
    assert set(modes.values()) == {0o700}
    assert stat.S_IMODE(precious.stat().st_mode) == 0o750
    tree.remove_tree(tmp_path / "tree")
    assert precious.is_dir()


def test_removing_a_sealed_tree_leaves_nothing(tmp_path: Path, packed: tuple[Manifest, bytes]) -> None:
    manifest, _ = packed
    root = tmp_path / "tree"
    tree.lay_out(manifest, root)
    tree.seal(manifest, root)
    tree.remove_tree(root)
    tree.remove_tree(root)
    assert not root.exists()
