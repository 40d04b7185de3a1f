"""Equal files are equal artifacts; what cannot be shipped is refused in one line; memory does not grow with size."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from fleetcast.artifacts.manifest import EntryKind, Manifest, decode
from fleetcast.artifacts.packing import BLOCKS, PackingStopped, pack
from fleetcast.model.errors import Invalid
from fleetcast.model.limits import MIB

FILES = {
    "README": b"read me",
    "bin/server": b"#!/bin/sh\necho up\n",
    "bin-data/one": random.Random(1).randbytes(3 * MIB + 17),
    "bin-data/two": random.Random(2).randbytes(200_000),
    "empty": b"",
    "\u00fcml\u00e4ut": b"x",
}


def write(root: Path, names: list[str]) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES[name])
    (root / "bin" / "server").chmod(0o755)
    (root / "current").symlink_to("bin/server")
    (root / "logs").mkdir()


def packed_bytes(output: Path, block_bytes: int = MIB) -> tuple[Manifest, bytes]:
    received = bytearray()
    blocks: list[int] = []

    def sink(block: memoryview) -> None:
        received.extend(block)
        blocks.append(len(block))

    packed = pack(output, sink, block_bytes=block_bytes)
    assert all(length == block_bytes for length in blocks[:-1])
    assert packed.content_size == len(received)
    return decode(packed.manifest), bytes(received)


def discard(block: memoryview) -> None:
    """Where nobody looks at the content."""


def digest(output: Path) -> str:
    return hashlib.sha256(pack(output, discard).manifest).hexdigest()


def test_equal_files_are_the_same_artifact_whatever_else_differs(tmp_path: Path) -> None:
    write(tmp_path / "a", sorted(FILES))
    umask = os.umask(0o077)
    try:
        write(tmp_path / "b", sorted(FILES, reverse=True))
    finally:
        os.umask(umask)
    (tmp_path / "b" / "bin" / "server").chmod(0o700)
    (tmp_path / "b" / "bin-data").chmod(0o2770)
    for path in (tmp_path / "b").rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    if os.geteuid() == 0:
        os.chown(tmp_path / "b" / "README", 1234, 1234)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "README").write_bytes(b"read mE"),
        lambda root: (root / "README").chmod(0o755),
        lambda root: (root / "README").rename(root / "READ"),
        lambda root: (root / "logs").rmdir(),
        lambda root: (root / "empty").unlink(),
    ],
)
def test_any_difference_in_the_files_is_another_artifact(tmp_path: Path, change: Callable[[Path], object]) -> None:
    write(tmp_path / "a", sorted(FILES))
    before = digest(tmp_path / "a")
    change(tmp_path / "a")
    assert digest(tmp_path / "a") != before


def test_the_content_is_the_files_in_bytewise_path_order(tmp_path: Path) -> None:
    write(tmp_path, sorted(FILES))
    manifest, content = packed_bytes(tmp_path)
    in_order = sorted(FILES, key=os.fsencode)
    assert content == b"".join(FILES[name] for name in in_order)
    assert manifest.content_sha256 == hashlib.sha256(content).hexdigest()
    assert [entry.path for entry in manifest.entries if entry.kind is EntryKind.EXECUTABLE] == [b"bin/server"]
    assert [(entry.path, entry.target) for entry in manifest.entries if entry.target] == [(b"current", b"bin/server")]
    offsets = manifest.chunk_offsets()
    assert offsets[-1] == len(content)
    for index, length in enumerate(manifest.chunk_lengths):
        chunk = content[offsets[index] : offsets[index] + length]
        assert blake3(chunk).digest() == manifest.chunk_digest(index)


@pytest.mark.parametrize("block_bytes", [100_001, MIB, 8 * MIB])
def test_block_size_makes_no_difference(tmp_path: Path, block_bytes: int) -> None:
    write(tmp_path, sorted(FILES))
    assert packed_bytes(tmp_path, block_bytes) == packed_bytes(tmp_path, 3 * MIB)


def test_a_file_is_an_artifact_of_that_file(tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(b"just this")
    (tmp_path / "tool").chmod(0o755)
    (tmp_path / "other").write_bytes(b"not this")
    manifest, content = packed_bytes(tmp_path / "tool")
    assert content == b"just this"
    assert [(entry.path, entry.kind) for entry in manifest.entries] == [(b"tool", EntryKind.EXECUTABLE)]


def test_hard_links_become_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"twice")
    os.link(tmp_path / "a", tmp_path / "b")
    manifest, content = packed_bytes(tmp_path)
    assert content == b"twicetwice"
    assert manifest.files == 2


def bind_socket(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "odd"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: os.mkfifo(root / "odd"), "device, socket or pipe"),
        (bind_socket, "device, socket or pipe"),
        (lambda root: (root / "odd").symlink_to("/etc/hostname"), "absolute"),
        (lambda root: (root / "odd").symlink_to("../outside"), "not inside"),
        (lambda root: (root / "odd").symlink_to("gone"), "not inside"),
        (lambda root: (root / "good").chmod(0o4755), "setuid"),
        (lambda root: (root / "good").chmod(0o2755), "setuid"),
        (lambda root: (root / "good").write_bytes(b""), "empty"),
        (lambda root: (root / "good").unlink(), "empty"),
    ],
)
def test_what_cannot_be_shipped_is_refused_in_one_line(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    (tmp_path / "outside").write_bytes(b"there")
    output = tmp_path / "out"
    output.mkdir()
    (output / "good").write_bytes(b"good")
    make(output)
    with pytest.raises(Invalid, match=message) as refused:
        pack(output, discard)
    assert "\n" not in refused.value.message


def test_no_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="there is no"):
        pack(tmp_path / "dist", discard)


@pytest.mark.parametrize("now", [b"longer than before" * 200_000, b"short"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, now: bytes) -> None:
    (tmp_path / "a").write_bytes(bytes((BLOCKS + 1) * MIB))  # so that z is read after the first block was handed on
    (tmp_path / "z").write_bytes(b"as it was")

    def sink(block: memoryview) -> None:
        (tmp_path / "z").write_bytes(now)

    with pytest.raises(Invalid, match="changed while it was read"):
        pack(tmp_path, sink, block_bytes=MIB)


def test_it_stops_between_blocks(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(12 * MIB))
    blocks: list[int] = []
    with pytest.raises(PackingStopped):
        pack(tmp_path, lambda block: blocks.append(len(block)), lambda: len(blocks) >= 2, block_bytes=MIB)
    assert 2 <= len(blocks) <= 2 + BLOCKS


def test_the_sinks_error_is_the_callers_and_the_sink_hears_no_more(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(12 * MIB))
    blocks: list[int] = []

    def sink(block: memoryview) -> None:
        blocks.append(len(block))
        if len(blocks) == 3:
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        pack(tmp_path, sink, block_bytes=MIB)
    assert len(blocks) == 3


def test_reading_goes_on_while_the_sink_waits(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(12 * MIB))
    reads: list[int] = []
    full = threading.Event()

    def stop() -> bool:
        # Asked before each read: with all blocks taken, the next one waits for the sink.
        reads.append(len(reads))
        if len(reads) > BLOCKS:
            full.set()
        return False

    def sink(block: memoryview) -> None:
        assert full.wait(timeout=30)

    pack(tmp_path, sink, stop, block_bytes=MIB)
    assert len(reads) == 12


def test_memory_does_not_grow_with_size(tmp_path: Path) -> None:
    assert abs(peak_growth_kib(tmp_path / "sparse", 800 * MIB) - peak_growth_kib(tmp_path / "sparse", 400 * MIB)) < 16 * 1024


def peak_growth_kib(file: Path, size: int) -> int:
    file.write_bytes(b"")
    os.truncate(file, size)
    pack(file, discard)  # what one pass needs is allocated now
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here, whatever other tests took
    before_kib = peak_kib()
    pack(file, discard)
    return peak_kib() - before_kib


def peak_kib() -> int:
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
