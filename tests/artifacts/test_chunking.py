"""Chunks depend on the content alone, and survive changes elsewhere in it."""

from __future__ import annotations

import random

import pytest
from blake3 import blake3

from fleetcast.artifacts.chunking import Chunker, manifest_pieces
from fleetcast.model.errors import Invalid
from fleetcast.model.limits import CHUNK_AVERAGE_BYTES, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, MANIFEST_PIECES_MAX, MIB


def cut(content: bytes, window_bytes: int) -> Chunker:
    chunker = Chunker()
    start = end = 0
    view = memoryview(content)
    while end < len(content):
        end = min(end + window_bytes, len(content))
        start += chunker.cut(view[start:end], last=end == len(content))
    assert start == len(content)
    return chunker


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("window_bytes", [64 * 1024 + 1, 1 * MIB, 3 * MIB - 7])
def test_windows_make_no_difference(window_bytes: int) -> None:
    data = content(1, 6 * MIB) + bytes(5 * MIB) + content(2, MIB + 3)
    whole, windowed = cut(data, len(data)), cut(data, window_bytes)
    assert windowed.lengths == whole.lengths
    assert windowed.digests == whole.digests


def test_chunks_have_the_promised_sizes_and_digests() -> None:
    data = content(3, 24 * MIB)
    chunker = cut(data, 4 * MIB)
    assert sum(chunker.lengths) == len(data)
    assert all(CHUNK_BYTES_MIN <= length <= CHUNK_BYTES_MAX for length in chunker.lengths[:-1])
    assert CHUNK_AVERAGE_BYTES / 2 < len(data) / len(chunker.lengths) < CHUNK_AVERAGE_BYTES * 2
    first = chunker.lengths[0]
    assert chunker.digests[:32] == blake3(data[:first]).digest()


def test_an_insertion_changes_few_chunks() -> None:
    data = content(4, 24 * MIB)
    changed = data[: 10 * MIB] + b"a few bytes more" + data[10 * MIB :]
    before, after = (cut(version, 4 * MIB).digests for version in (data, changed))
    known = {before[start : start + 32] for start in range(0, len(before), 32)}
    new = [after[start : start + 32] for start in range(0, len(after), 32) if after[start : start + 32] not in known]
    assert 1 <= len(new) <= 3


@pytest.mark.parametrize("size", [1, 100_000, 3 * MIB, 20 * MIB])
def test_a_manifest_has_few_pieces_that_cover_it(size: int) -> None:
    manifest = content(5, size)
    pieces = manifest_pieces(manifest)
    assert 1 <= len(pieces) <= MANIFEST_PIECES_MAX
    assert sum(piece.length for piece in pieces) == size
    assert max(piece.length for piece in pieces) <= CHUNK_BYTES_MAX
    assert pieces[0].blake3 == blake3(manifest[: pieces[0].length]).hexdigest()


def test_a_small_manifest_is_cut_about_every_32_kib() -> None:
    assert 15 <= len(manifest_pieces(content(6, MIB))) <= 45


def test_even_one_that_content_never_cuts_stays_within_the_pieces() -> None:
    largest = MANIFEST_PIECES_MAX * CHUNK_BYTES_MAX
    assert len(manifest_pieces(bytes(largest))) == MANIFEST_PIECES_MAX
    with pytest.raises(Invalid, match="too many files"):
        manifest_pieces(bytes(largest + 1))
