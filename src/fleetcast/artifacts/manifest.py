"""The manifest: what an artifact consists of, and the chunks of its contents. Pure.

Its encoding is canonical: equal files give equal bytes, whatever their times, owners, umask or order of creation. The
SHA-256 of those bytes is the artifact's identity. All integers are little-endian::

    header   magic 8s, version u32, entries u32, chunks u32, zero u32, content_size u64, content_sha256 32s
    entries  each: kind u8, path length u16, target length u16, size u64, path, target
    chunks   lengths u32 * chunks, then BLAKE3-256 digests 32s * chunks, both in stream order
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from dataclasses import dataclass
from itertools import accumulate
from struct import Struct
from typing import Final

from fleetcast.artifacts.entries import FILE_KINDS, Entry, EntryKind, broken_rule
from fleetcast.model.errors import Corrupt
from fleetcast.model.ids import Digest
from fleetcast.model.limits import CHUNK_BYTES_MAX, MANIFEST_BYTES_MAX

__all__ = ["CHUNK_DIGEST_BYTES", "Entry", "EntryKind", "Manifest", "decode", "encode", "manifest_digest"]

CHUNK_DIGEST_BYTES: Final = 32
"""BLAKE3-256."""

_MAGIC: Final = b"FCMANIF\n"
_VERSION: Final = 1
_HEADER: Final = Struct("<8sIIIIQ32s")
_ENTRY: Final = Struct("<BHHQ")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The table of paths and the table of chunks. The chunks, in order, cover the content exactly."""

    entries: tuple[Entry, ...]
    """In bytewise path order. The contents of the files among them, in this order, are the artifact's content."""
    chunk_lengths: array[int]
    """``array('I')``, bytes, in stream order. A chunk that occurs twice is listed twice."""
    chunk_digests: bytes
    """``CHUNK_DIGEST_BYTES`` for each chunk: its BLAKE3-256."""
    content_size: int
    content_sha256: Digest

    @property
    def chunks(self) -> int:
        return len(self.chunk_lengths)

    @property
    def files(self) -> int:
        return sum(entry.kind in FILE_KINDS for entry in self.entries)

    def chunk_digest(self, index: int) -> bytes:
        return self.chunk_digests[index * CHUNK_DIGEST_BYTES : (index + 1) * CHUNK_DIGEST_BYTES]

    def chunk_offsets(self) -> array[int]:
        """``array('Q')`` of where each chunk begins in the content, and, last, where the content ends."""
        return array("Q", accumulate(self.chunk_lengths, initial=0))


def encode(manifest: Manifest) -> bytes:
    """The canonical bytes. ``decode(encode(m)) == m`` for every manifest that obeys the rules; no other is accepted back."""
    parts = [
        _HEADER.pack(
            _MAGIC,
            _VERSION,
            len(manifest.entries),
            manifest.chunks,
            0,
            manifest.content_size,
            bytes.fromhex(manifest.content_sha256),
        )
    ]
    for entry in manifest.entries:
        parts.append(_ENTRY.pack(entry.kind, len(entry.path), len(entry.target), entry.size))
        parts.append(entry.path)
        parts.append(entry.target)
    parts.append(_little_endian(manifest.chunk_lengths).tobytes())
    parts.append(manifest.chunk_digests)
    return b"".join(parts)


def decode(data: bytes) -> Manifest:
    """Read a manifest and check all of its rules. Says nothing about whether it is the one that was meant: see its digest.

    Raises:
        Corrupt: not exactly the canonical encoding of entries that obey the rules and of chunks that cover them.
    """
    if len(data) > MANIFEST_BYTES_MAX:
        raise _corrupt(f"it has {len(data)} bytes, at most {MANIFEST_BYTES_MAX} are allowed")
    if len(data) < _HEADER.size:
        raise _corrupt("it ends within its header")
    magic, version, entry_count, chunk_count, zero, content_size, content_sha256 = _HEADER.unpack_from(data)
    if magic != _MAGIC or zero != 0:
        raise _corrupt("it does not begin like a manifest")
    if version != _VERSION:
        raise _corrupt(f"it has format version {version}, this program knows {_VERSION}")
    if len(data) < _HEADER.size + entry_count * _ENTRY.size + chunk_count * (4 + CHUNK_DIGEST_BYTES):
        raise _corrupt("it is shorter than its tables")
    entries, position = _decode_entries(data, entry_count)
    digests_at = position + 4 * chunk_count
    if len(data) != digests_at + CHUNK_DIGEST_BYTES * chunk_count:
        raise _corrupt("its length is not that of its tables")
    lengths = array("I")
    lengths.frombytes(data[position:digests_at])
    manifest = Manifest(entries, _little_endian(lengths), data[digests_at:], content_size, Digest(content_sha256.hex()))
    _check_sums(manifest)
    return manifest


def manifest_digest(encoded: bytes) -> Digest:
    """The artifact's digest: SHA-256 of the encoded manifest."""
    return Digest(hashlib.sha256(encoded).hexdigest())


def _decode_entries(data: bytes, count: int) -> tuple[tuple[Entry, ...], int]:
    """The entries, checked, and the offset behind them."""
    entries = []
    position = _HEADER.size
    for _ in range(count):
        if position + _ENTRY.size > len(data):
            raise _corrupt("it ends within its entries")
        kind, path_length, target_length, size = _ENTRY.unpack_from(data, position)
        if kind > EntryKind.SYMLINK:
            raise _corrupt(f"it has an entry of unknown kind {kind}")
        path_at = position + _ENTRY.size
        target_at = path_at + path_length
        position = target_at + target_length
        if position > len(data):
            raise _corrupt("it ends within its entries")
        entries.append(Entry(data[path_at:target_at], EntryKind(kind), size, data[target_at:position]))
    broken = broken_rule(entries)
    if broken is not None:
        raise _corrupt(broken)
    return tuple(entries), position


def _check_sums(manifest: Manifest) -> None:
    if sum(entry.size for entry in manifest.entries) != manifest.content_size:
        raise _corrupt("its files do not add up to its content")
    if sum(manifest.chunk_lengths) != manifest.content_size:
        raise _corrupt("its chunks do not add up to its content")
    if any(not 0 < length <= CHUNK_BYTES_MAX for length in manifest.chunk_lengths):
        raise _corrupt(f"it has a chunk that is empty or longer than {CHUNK_BYTES_MAX} bytes")


def _little_endian(numbers: array[int]) -> array[int]:
    """To or from the order of the file; the same array on almost every machine."""
    if sys.byteorder == "little":
        return numbers
    swapped = array(numbers.typecode, numbers)
    swapped.byteswap()
    return swapped


def _corrupt(reason: str) -> Corrupt:
    return Corrupt("corrupt_manifest", f"this manifest cannot be used: {reason}; fetch it again from another place")


assert array("I").itemsize == 4
