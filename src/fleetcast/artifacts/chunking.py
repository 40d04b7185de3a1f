"""Cutting a content into chunks where its bytes say so (FastCDC), and naming each by its BLAKE3-256.

Cuts depend on nothing but the bytes since the cut before, so equal stretches of two artifacts give equal chunks. Both
libraries run native code with the GIL released.
"""

from __future__ import annotations

from array import array
from typing import Final

from blake3 import blake3
from pyfastcdc import FastCDC

from fleetcast.model.artifact import ManifestPiece
from fleetcast.model.errors import Invalid
from fleetcast.model.limits import (
    CHUNK_AVERAGE_BYTES,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    MANIFEST_PIECE_AVERAGE_BYTES,
    MANIFEST_PIECES_MAX,
)

MANIFEST_PIECE_BYTES_MAX: Final = CHUNK_BYTES_MAX
"""A piece of a manifest is never longer than a chunk, so that whoever moves pieces needs buffers of one size."""


class Chunker:
    """Cuts one content, window by window, and collects its chunk table."""

    def __init__(self) -> None:
        self._cutter = FastCDC(CHUNK_AVERAGE_BYTES, min_size=CHUNK_BYTES_MIN, max_size=CHUNK_BYTES_MAX)
        self.lengths = array("I")
        self._digests = bytearray()

    @property
    def digests(self) -> bytes:
        """The digests of :attr:`lengths`, one behind the other."""
        return bytes(self._digests)

    def cut(self, window: memoryview, *, last: bool) -> int:
        """Take all chunks that end for certain within ``window``; returns how many bytes they cover.

        The rest (less than ``CHUNK_BYTES_MAX``) belongs in front of the next window. In the last window everything is taken.
        """
        taken = 0
        for chunk in self._cutter.cut_buf(window):
            end = taken + chunk.length
            # A cut at the window's end may only be there because the bytes ended; every other one has seen all it asks for.
            if end == len(window) and not last and chunk.length < CHUNK_BYTES_MAX:
                break
            self.lengths.append(chunk.length)
            self._digests += blake3(window[taken:end]).digest()
            taken = end
        return taken


def manifest_pieces(manifest: bytes) -> tuple[ManifestPiece, ...]:
    """Cut an encoded manifest into at most ``MANIFEST_PIECES_MAX`` pieces, larger ones for a larger manifest.

    Raises:
        Invalid: it is too large for that many pieces.
    """
    if len(manifest) > MANIFEST_PIECES_MAX * MANIFEST_PIECE_BYTES_MAX:
        raise Invalid(
            "manifest_too_large",
            f"the manifest has {len(manifest)} bytes, more than {MANIFEST_PIECES_MAX * MANIFEST_PIECE_BYTES_MAX}: "
            "the output has too many files, put them into an archive",
        )
    average = MANIFEST_PIECE_AVERAGE_BYTES
    while 2 * average <= MANIFEST_PIECE_BYTES_MAX:
        cutter = FastCDC(average, min_size=average // 4, max_size=min(4 * average, MANIFEST_PIECE_BYTES_MAX))
        lengths = [chunk.length for chunk in cutter.cut_buf(manifest)]
        if len(lengths) <= MANIFEST_PIECES_MAX:
            return _pieces(manifest, lengths)
        average *= 2
    return _pieces(manifest, _equal_lengths(len(manifest)))


def _equal_lengths(total: int) -> list[int]:
    """Where even large content-defined pieces are too many: as many equal ones as are allowed."""
    length = -(-total // MANIFEST_PIECES_MAX)
    return [min(length, total - start) for start in range(0, total, length)]


def _pieces(manifest: bytes, lengths: list[int]) -> tuple[ManifestPiece, ...]:
    view = memoryview(manifest)
    pieces = []
    start = 0
    for length in lengths:
        pieces.append(ManifestPiece(length, blake3(view[start : start + length]).hexdigest()))
        start += length
    return tuple(pieces)
