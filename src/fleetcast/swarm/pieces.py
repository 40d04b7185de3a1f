"""How the pieces of an artifact are numbered: ``[0, P)`` the manifest's own, then the distinct chunks of the content in
order of their first occurrence. Peers, leases and bitmaps speak of pieces by these numbers.

Pure.
"""

from __future__ import annotations

from array import array
from typing import Final

from fleetcast.artifacts.manifest import Manifest
from fleetcast.model.artifact import Root
from fleetcast.model.errors import Corrupt
from fleetcast.model.limits import CHUNK_BYTES_MAX

BLAKE3_BYTES: Final = 32


class PieceMap:
    """Lengths, digests and places of an artifact's pieces. Without the manifest only its own pieces are known."""

    def __init__(self, root: Root, manifest: Manifest | None = None) -> None:
        """Raises :class:`Corrupt` when root and manifest disagree, or equal digests have different lengths."""
        self.manifest_count: Final = len(root.manifest_pieces)
        self._lengths = array("I", (piece.length for piece in root.manifest_pieces))
        self._offsets = array("Q")
        self._digests = bytearray()
        self._repeats: dict[int, list[int]] = {}
        offset = 0
        for piece in root.manifest_pieces:
            if not 0 < piece.length <= CHUNK_BYTES_MAX:
                raise Corrupt("root_sizes", f"the root has a manifest piece of {piece.length} bytes: rebuild the artifact")
            self._offsets.append(offset)
            self._digests += bytes.fromhex(piece.blake3)
            offset += piece.length
        if offset != root.manifest_size:
            raise Corrupt("root_sizes", "the root's manifest pieces do not add up to its manifest size: rebuild the artifact")
        if manifest is not None:
            self._number_chunks(root, manifest)

    def _number_chunks(self, root: Root, manifest: Manifest) -> None:
        if len(manifest.chunk_lengths) != root.chunks or manifest.content_size != root.content_size:
            raise Corrupt("root_sizes", "root and manifest disagree on chunks or content size: rebuild the artifact")
        digests = manifest.chunk_digests
        numbers: dict[bytes, int] = {}
        offset = 0
        for index, length in enumerate(manifest.chunk_lengths):
            digest = digests[index * BLAKE3_BYTES : (index + 1) * BLAKE3_BYTES]
            number = numbers.setdefault(digest, len(self._lengths))
            if number == len(self._lengths):
                self._lengths.append(length)
                self._offsets.append(offset)
                self._digests += digest
            elif self._lengths[number] != length:
                raise Corrupt("manifest_chunks", "chunks of one digest have two lengths: rebuild the artifact")
            else:
                self._repeats.setdefault(number, []).append(offset)
            offset += length

    @property
    def count(self) -> int:
        """Pieces known: P, or P and the distinct chunks."""
        return len(self._lengths)

    def is_manifest(self, piece: int) -> bool:
        return piece < self.manifest_count

    def length(self, piece: int) -> int:
        """Bytes."""
        return self._lengths[piece]

    def blake3(self, piece: int) -> bytes:
        """BLAKE3-256, 32 bytes."""
        return bytes(self._digests[piece * BLAKE3_BYTES : (piece + 1) * BLAKE3_BYTES])

    def offset_in_blob(self, piece: int) -> int:
        """Where the piece (first) occurs in the manifest, or in the content."""
        return self._offsets[piece]

    def occurrences(self, piece: int) -> tuple[int, ...]:
        """Every offset at which the piece stands in its blob, the first one first."""
        return (self._offsets[piece], *self._repeats.get(piece, ()))

    def payload(self, piece: int) -> tuple[int, int]:
        """Content bytes of the first copy, and of its repetitions. A manifest piece is no payload."""
        if self.is_manifest(piece):
            return (0, 0)
        length = self._lengths[piece]
        return (length, length * len(self._repeats.get(piece, ())))

    def chunk_numbers(self) -> dict[bytes, int]:
        """BLAKE3 of each distinct chunk to its piece number; made anew by every call."""
        return {self.blake3(piece): piece for piece in range(self.manifest_count, self.count)}
