"""From offsets in an artifact's content to places in its files. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from fleetcast.artifacts.entries import FILE_KINDS, Entry


class Extent(NamedTuple):
    """A range of one file: where a range of the content, or a part of it, lies."""

    file: int
    """Index in :attr:`Extents.files`."""
    offset: int
    length: int


class Extents:
    """The map of an artifact's content: its files laid end to end, in the manifest's order."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        # The entries themselves: a million files must not be in memory twice.
        self.files: tuple[Entry, ...] = tuple(entry for entry in entries if entry.kind in FILE_KINDS)
        self._ends = array("Q", accumulate(file.size for file in self.files))
        self.content_size: int = self._ends[-1] if self._ends else 0

    def locate(self, offset: int, length: int) -> list[Extent]:
        """The extents of ``length`` bytes of content from ``offset`` on, in order, none of them empty.

        Raises:
            ValueError: the range is not inside the content.
        """
        if offset < 0 or length < 0 or offset + length > self.content_size:
            raise ValueError(f"bytes {offset} to {offset + length} are not inside a content of {self.content_size}")
        extents = []
        # The first file that ends behind the offset: empty files, which end where they begin, are passed over.
        index = bisect_right(self._ends, offset)
        while length > 0:
            size = self.files[index].size
            within = offset - (self._ends[index] - size)
            taken = min(length, size - within)
            if taken:
                extents.append(Extent(index, within, taken))
            offset += taken
            length -= taken
            index += 1
        return extents
