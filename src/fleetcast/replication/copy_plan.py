"""Which bytes of a content to read so that one part of it can be verified. Pure.

Chunks and parts do not end together, so a part is read with all chunks that it touches, whole. That reads a few percent of
the bytes twice and makes every part a job of its own: in any order, side by side, whatever an earlier attempt has done.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from fleetcast.artifacts.manifest import Manifest
from fleetcast.model.limits import CHUNK_BYTES_MAX


class Span(NamedTuple):
    """A range of the content, in bytes, made of whole chunks."""

    start: int
    end: int
    first_chunk: int
    end_chunk: int


class ChunkPlace(NamedTuple):
    """A chunk inside a span; ``start`` and ``end`` count from the span's beginning."""

    chunk: int
    start: int
    end: int
    blake3: bytes


class CopyPlan:
    """The parts of one content, numbered from 1, each ``part_bytes`` long but the last."""

    def __init__(self, manifest: Manifest, part_bytes: int) -> None:
        self._manifest = manifest
        self._offsets = manifest.chunk_offsets()
        self._part_bytes = part_bytes
        self.parts = -(-manifest.content_size // part_bytes)
        self.span_bytes_max = min(part_bytes + 2 * CHUNK_BYTES_MAX, manifest.content_size)

    def start_of(self, number: int) -> int:
        """Where part ``number`` begins in the content."""
        return (number - 1) * self._part_bytes

    def size_of(self, number: int) -> int:
        """Bytes of part ``number``; 0 or less: there is no such part."""
        return min(self._part_bytes, self._manifest.content_size - self.start_of(number))

    def span_of(self, number: int) -> Span:
        """The chunks that part ``number`` touches; at most ``span_bytes_max`` bytes."""
        start = self.start_of(number)
        first = bisect_right(self._offsets, start) - 1
        end = bisect_left(self._offsets, start + self.size_of(number))
        return Span(self._offsets[first], self._offsets[end], first, end)

    def chunks_in(self, span: Span) -> Iterator[ChunkPlace]:
        """The chunks of a span, in order."""
        for index in range(span.first_chunk, span.end_chunk):
            start, end = self._offsets[index] - span.start, self._offsets[index + 1] - span.start
            yield ChunkPlace(index, start, end, self._manifest.chunk_digest(index))
