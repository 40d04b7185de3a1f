"""Which bytes of a new artifact a bucket holds already, in older ones, and which have to travel. Pure.

Chunks are content-defined, so what an edit left alone is in the older artifact under the same digest, wherever it stands there.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from fleetcast.artifacts.manifest import Manifest
from fleetcast.model.limits import COPY_JOIN_BYTES
from fleetcast.replication.copy_plan import ChunkPlace, Span

NOWHERE: Final = -1


class Run(NamedTuple):
    """What one request reads into the buffer of a span: bytes ``start`` to ``end`` of it."""

    base: int
    """Number of the older artifact it is read from; ``NOWHERE``: the main store."""
    offset: int
    """Where it stands in that content."""
    start: int
    end: int


class Reuse:
    """Where the chunks of one manifest are in older artifacts, the first of which that has a chunk is asked for it."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._base = array("b", [NOWHERE]) * manifest.chunks
        self._offset = array("Q", [0]) * manifest.chunks
        self._bases = 0

    def add(self, base: Manifest) -> int:
        """Take an older artifact into account. Returns its number, from 0."""
        number, self._bases = self._bases, self._bases + 1
        offsets = base.chunk_offsets()
        first: dict[bytes, int] = {}
        for index in range(base.chunks):
            first.setdefault(base.chunk_digest(index), index)
        follows = NOWHERE
        for chunk in range(self._manifest.chunks):
            digest = self._manifest.chunk_digest(chunk)
            # Of a chunk that stands there twice, the one behind the chunk before: one request reads both.
            found = follows if 0 <= follows < base.chunks and base.chunk_digest(follows) == digest else first.get(digest)
            follows = NOWHERE if found is None else found + 1
            if found is not None and self._base[chunk] == NOWHERE:
                self._base[chunk], self._offset[chunk] = number, offsets[found]
        return number

    def drop(self, base: int) -> None:
        """An older artifact is not there any more: what it has must travel."""
        for chunk, number in enumerate(self._base):
            if number == base:
                self._base[chunk] = NOWHERE

    def bytes_missing(self) -> int:
        """What no older artifact has."""
        return sum(length for length, base in zip(self._manifest.chunk_lengths, self._base, strict=True) if base == NOWHERE)

    def runs(self, span: Span, places: Iterable[ChunkPlace]) -> Sequence[Run]:
        """The requests that fill a span, in order and without a gap. ``places`` are its chunks, in order.

        A stretch of less than ``COPY_JOIN_BYTES`` that is there, between two that are not, travels with them: that takes less
        than another request does.
        """
        found = list(_contiguous(Run(self._base[at.chunk], self._at(span, at), at.start, at.end) for at in places))
        missing = [index for index, run in enumerate(found) if run.base == NOWHERE]
        joined = list(found)
        for before, after in pairwise(missing):
            if found[after].start - found[before].end < COPY_JOIN_BYTES:
                for index in range(before + 1, after):
                    joined[index] = _from_main(span, found[index].start, found[index].end)
        return tuple(_contiguous(joined))

    def _at(self, span: Span, place: ChunkPlace) -> int:
        return self._offset[place.chunk] if self._base[place.chunk] != NOWHERE else span.start + place.start


def travelling(span: Span, places: Iterable[ChunkPlace]) -> Sequence[Run]:
    """The requests that read these chunks of a span, in order, from the main store."""
    return tuple(_contiguous(_from_main(span, place.start, place.end) for place in places))


def _from_main(span: Span, start: int, end: int) -> Run:
    return Run(NOWHERE, span.start + start, start, end)


def _contiguous(runs: Iterable[Run]) -> Iterator[Run]:
    """Those that continue each other as one."""
    last: Run | None = None
    for run in runs:
        if last is not None and run.base == last.base and run.offset == last.offset + last.end - last.start:
            last = last._replace(end=run.end)
            continue
        if last is not None:
            yield last
        last = run
    if last is not None:
        yield last
