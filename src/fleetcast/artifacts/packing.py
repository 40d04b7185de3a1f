"""Packing: one streaming pass over a file or directory that yields its content, its chunks and its manifest.

The content goes through a few blocks of memory, whatever its size. The caller's thread reads them; of each block that is read
one thread runs SHA-256, another cuts and names the chunks, a third hands it to the sink: native code with the GIL released,
all four. Nobody waits for anybody but for the slowest of them, once all blocks are full of what that has yet to do.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from fleetcast.artifacts.chunking import Chunker
from fleetcast.artifacts.entries import shown
from fleetcast.artifacts.manifest import Manifest, encode
from fleetcast.artifacts.scanning import Output, scan
from fleetcast.model.errors import Invalid
from fleetcast.model.ids import Digest
from fleetcast.model.limits import BLOB_PART_BYTES, CHUNK_BYTES_MAX, MANIFEST_BYTES_MAX

BLOCKS: Final = 4
"""One is read, one is handed on; the others let the sink wait for its disk now and then without stopping the rest."""


class PackingStopped(Exception):
    """``stop`` said so; nothing was produced."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What one pass over an output found."""

    manifest: bytes
    """Encoded. Its SHA-256 is the artifact's digest."""
    content_size: int
    """Bytes handed to the sink."""
    content_sha256: Digest
    files: int
    chunks: int
    """Repetitions included."""


def never() -> bool:
    return False


def pack(
    output: Path,
    sink: Callable[[memoryview], None],
    stop: Callable[[], bool] = never,
    *,
    block_bytes: int = BLOB_PART_BYTES,
) -> Packed:
    """Stream ``output``'s content into ``sink`` and describe it.

    ``sink`` is called, always in the same other thread, with blocks of exactly ``block_bytes``, the last one shorter or equal;
    a block is overwritten some time after ``sink`` returns. What it raises is raised here. ``output`` is a directory, or a
    file: an artifact with that one file in it.

    Raises:
        Invalid: in one line, why this output cannot be an artifact: a device, socket, pipe or setuid file in it, a symlink
            that is absolute, dangling or leads outside, too much of anything, nothing at all, a file that changed meanwhile.
        PackingStopped: ``stop``, asked before each block is read, returned true.
    """
    found = scan(output)
    with _Line(block_bytes, sink) as line, closing(_Reader(found)) as reader:
        left = found.content_size
        while left:
            if stop():
                raise PackingStopped
            block = line.free_block()
            filled = reader.fill(block.content)
            left -= filled
            line.start(block, filled, last=left == 0)
        manifest = line.finish(found)
    encoded = encode(manifest)
    if len(encoded) > MANIFEST_BYTES_MAX:
        raise Invalid("manifest_too_large", f"the manifest has {len(encoded)} bytes: the output has too many files")
    return Packed(encoded, manifest.content_size, manifest.content_sha256, manifest.files, manifest.chunks)


class _Block:
    """A stretch of content, with room in front for what the chunker could not place in the stretch before."""

    def __init__(self, block_bytes: int) -> None:
        self.memory = memoryview(bytearray(CHUNK_BYTES_MAX + block_bytes))
        self.content = self.memory[CHUNK_BYTES_MAX:]
        self.in_use: tuple[Future[None], ...] = ()


class _Line:
    """What is done to a content once it is read, block after block: SHA-256, the chunk table, the sink, each on its thread."""

    def __init__(self, block_bytes: int, sink: Callable[[memoryview], None]) -> None:
        self._blocks = [_Block(block_bytes) for _ in range(BLOCKS)]
        self._turn = 0
        self._sha256 = hashlib.sha256()
        self._chunker = Chunker()
        self._carried = 0
        self._sink = sink
        self._handed_on: Future[None] | None = None
        self._sha_thread = ThreadPoolExecutor(1, "pack-sha256")
        self._cut_thread = ThreadPoolExecutor(1, "pack-chunks")
        self._sink_thread = ThreadPoolExecutor(1, "pack-sink")

    def free_block(self) -> _Block:
        """The next block in turn, once nobody reads it any more."""
        block = self._blocks[self._turn]
        self._turn = (self._turn + 1) % BLOCKS
        for use in block.in_use:
            use.result()
        return block

    def start(self, block: _Block, filled: int, *, last: bool) -> None:
        """Work on the block's first ``filled`` bytes, in the background."""
        following = self._blocks[self._turn]
        content = block.content[:filled]
        self._handed_on = self._sink_thread.submit(self._hand_on, content, self._handed_on)
        block.in_use = (
            self._handed_on,
            self._sha_thread.submit(self._sha256.update, content),
            self._cut_thread.submit(self._cut, block, filled, following, last),
        )

    def finish(self, found: Output) -> Manifest:
        for _ in self._blocks:
            self.free_block()
        sha256 = Digest(self._sha256.hexdigest())
        return Manifest(found.entries, self._chunker.lengths, self._chunker.digests, found.content_size, sha256)

    def _hand_on(self, content: memoryview, before: Future[None] | None) -> None:
        """On the sink's thread. A sink that failed is not called again: what came before raises here once more."""
        if before is not None:
            before.result()
        self._sink(content)

    def _cut(self, block: _Block, filled: int, following: _Block, last: bool) -> None:
        """On the chunks' thread, the only one that touches the room in front of any block."""
        window = block.memory[CHUNK_BYTES_MAX - self._carried : CHUNK_BYTES_MAX + filled]
        rest = window[self._chunker.cut(window, last=last) :]
        following.memory[CHUNK_BYTES_MAX - len(rest) : CHUNK_BYTES_MAX] = rest
        self._carried = len(rest)

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for thread in (self._sink_thread, self._sha_thread, self._cut_thread):
            thread.shutdown(cancel_futures=True)


class _Reader:
    """The contents of an output's files, one after another, as one stream."""

    def __init__(self, found: Output) -> None:
        self._directory = os.open(found.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._sources = iter(found.sources)
        self._path = b""
        self._file: int | None = None
        self._opened: os.stat_result | None = None
        self._left = 0

    def fill(self, buffer: memoryview) -> int:
        """Read until ``buffer`` is full or the last file ends; returns how much was read."""
        filled = 0
        while filled < len(buffer):
            if self._file is None and not self._open_next():
                break
            filled += self._read(buffer[filled : filled + self._left])
        return filled

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        os.close(self._directory)

    def _open_next(self) -> bool:
        source = next(self._sources, None)
        if source is None:
            return False
        self._path, self._left = source
        try:
            # Not blocking: what was a file when it was found may be a pipe by now.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._file = os.open(self._path, flags, dir_fd=self._directory)
        except FileNotFoundError as error:
            raise self._changed() from error
        except PermissionError as error:
            raise Invalid("unreadable_output", f"{shown(self._path)} cannot be read: give its owner the right to") from error
        self._opened = os.fstat(self._file)
        if not stat.S_ISREG(self._opened.st_mode) or self._opened.st_size != self._left:
            raise self._changed()
        return True

    def _read(self, buffer: memoryview) -> int:
        assert self._file is not None
        count = os.readv(self._file, [buffer]) if len(buffer) else 0
        if count == 0 and self._left:
            raise self._changed()
        self._left -= count
        if self._left == 0:
            self._finish_file(self._file)
        return count

    def _finish_file(self, file: int) -> None:
        now = os.fstat(file)
        before = self._opened
        self._file = None
        os.close(file)
        if before is None or (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise self._changed()

    def _changed(self) -> Invalid:
        reason = "changed while it was read: end everything that writes to the output before the build command ends"
        return Invalid("output_changed", f"{shown(self._path)} {reason}")
