"""What goes over the wire, and the numbering it speaks of."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.artifacts.manifest import Entry, EntryKind, Manifest, encode, manifest_digest
from fleetcast.model.artifact import ManifestPiece, Root
from fleetcast.model.errors import Corrupt
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, Digest, MachineId, ServiceName
from fleetcast.model.limits import CHUNK_BYTES_MAX
from fleetcast.swarm import codec
from fleetcast.swarm.bitmap import HaveLog, pack, ranges_of, unpack
from fleetcast.swarm.pieces import PieceMap

NUMBERS = st.integers(0, 2**32 - 1)
RANGES = st.builds(lambda first, length: (first, first + length), st.integers(0, 2**31), st.integers(0, 500))
TEXTS = st.text(max_size=40)
FRAMES = st.one_of(
    st.builds(
        codec.Hello,
        digest=TEXTS.map(Digest),
        machine=TEXTS.map(MachineId),
        ticket=TEXTS,
        port=st.integers(0, 65535),
        zone=TEXTS,
        rack=TEXTS,
        protocol=st.integers(0, 65535),
    ),
    st.builds(codec.Bitmap, NUMBERS, st.binary(max_size=100)),
    st.builds(codec.Request, st.lists(NUMBERS, max_size=8).map(tuple)),
    st.builds(codec.Chunk, NUMBERS, st.integers(1, CHUNK_BYTES_MAX)),
    st.builds(codec.Have, st.lists(RANGES, max_size=8).map(tuple), st.integers(0, 255), st.booleans(), NUMBERS),
    st.builds(codec.Wait),
    st.builds(codec.Refused, st.sampled_from(["busy", "not_held"]), NUMBERS),
    st.builds(codec.Bye, st.sampled_from(["", "wrong_bytes"]), NUMBERS),
)


def _decode(data: bytes) -> codec.Frame:
    header = codec.decode_header(data[: codec.HEADER_BYTES])
    return codec.decode(header, data[codec.HEADER_BYTES : codec.HEADER_BYTES + header.body_bytes])


@given(FRAMES)
def test_a_frame_comes_out_as_it_went_in(frame: codec.Frame) -> None:
    data = codec.encode(frame)
    assert codec.decode_header(data[: codec.HEADER_BYTES]).body_bytes == len(data) - codec.HEADER_BYTES
    assert _decode(data) == frame


@given(st.binary(min_size=codec.HEADER_BYTES, max_size=80), FRAMES, st.integers(0, 30), st.integers(0, 255))
def test_nonsense_is_corrupt_and_nothing_else(noise: bytes, frame: codec.Frame, at: int, value: int) -> None:
    damaged = bytearray(codec.encode(frame))
    damaged[at % len(damaged)] = value
    for data in (noise, bytes(damaged)):
        try:
            _decode(data)
        except Corrupt:
            continue


def test_a_hello_of_a_newer_version_may_say_more() -> None:
    body = b'{"digest": "d", "machine": "m", "protocol": 2, "colour": "blue"}'
    hello = codec.decode(codec.Header(codec.HELLO, len(body), 0, 0), body)
    assert hello == codec.Hello(Digest("d"), MachineId("m"), protocol=2)


@given(st.lists(st.booleans(), max_size=200))
def test_bits_hold_what_flags_say(owned: list[bool]) -> None:
    flags = bytearray(owned)
    bits = pack(flags)
    assert [bool(bits[piece // 8] >> piece % 8 & 1) for piece in range(len(flags))] == owned
    assert unpack(bits, len(flags)) == flags


@pytest.mark.parametrize(("bits", "count"), [(b"\x01", 0), (b"", 1), (b"\x02", 1), (b"\xff\xff", 15)])
def test_bits_that_do_not_fit_are_corrupt(bits: bytes, count: int) -> None:
    with pytest.raises(Corrupt):
        unpack(bits, count)


@given(st.sets(st.integers(0, 60)), st.integers(1, 7))
def test_news_since_a_cursor_is_told_once_and_completely(pieces: set[int], count_max: int) -> None:
    log, cursor, told = HaveLog(), 0, []
    for piece in pieces:
        log.add(piece)
    while cursor < log.cursor:
        cursor, ranges = log.since(cursor, count_max)
        told += [piece for first, last in ranges for piece in range(first, last)]
    assert sorted(told) == sorted(pieces)
    assert log.since(cursor, count_max) == (cursor, ())


@given(st.sets(st.integers(0, 40)))
def test_ranges_are_merged_and_say_the_same(pieces: set[int]) -> None:
    ranges = ranges_of(pieces)
    assert {piece for first, last in ranges for piece in range(first, last)} == pieces
    assert all(before[1] < after[0] for before, after in pairwise(ranges))


def _artifact(chunks: list[bytes]) -> tuple[Root, Manifest]:
    content = b"".join(chunks)
    digests = b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
    sha256 = Digest(hashlib.sha256(content).hexdigest())
    entries = (Entry(b"file", EntryKind.FILE, len(content)),)
    manifest = Manifest(entries, array("I", map(len, chunks)), digests, len(content), sha256)
    encoded = encode(manifest)
    pieces = tuple(ManifestPiece(len(part), "ab" * 32) for part in (encoded[:50], encoded[50:]))
    root = Root(
        ArtifactName("a/b"), ServiceName("a"), CommitSha("0" * 40), BuildId(1), 1, "", manifest_digest(encoded), len(encoded),
        pieces, len(content), sha256, 1, len(chunks),
    )  # fmt: skip
    return root, manifest


@given(st.lists(st.sampled_from([b"a", b"bb", b"ccc", b"dddd"]), max_size=12))
def test_pieces_cover_the_content_exactly(chunks: list[bytes]) -> None:
    root, manifest = _artifact(chunks)
    pieces = PieceMap(root, manifest)
    assert pieces.count == 2 + len(set(chunks))
    content = bytearray(b"?" * root.content_size)
    by_digest = {hashlib.sha256(chunk).digest(): chunk for chunk in chunks}
    firsts = [pieces.offset_in_blob(piece) for piece in range(2, pieces.count)]
    assert firsts == sorted(firsts), "numbered in order of first occurrence"
    payload = 0
    for piece in range(2, pieces.count):
        chunk = by_digest[pieces.blake3(piece)]
        assert pieces.length(piece) == len(chunk)
        for offset in pieces.occurrences(piece):
            content[offset : offset + len(chunk)] = chunk
        payload += sum(pieces.payload(piece))
    assert content == b"".join(chunks)
    assert payload == root.content_size
    assert pieces.payload(0) == (0, 0)


def test_a_root_that_contradicts_its_manifest_is_corrupt() -> None:
    root, manifest = _artifact([b"a", b"bb"])
    for wrong in (replace(root, chunks=3), replace(root, content_size=4), replace(root, manifest_size=1)):
        with pytest.raises(Corrupt):
            PieceMap(wrong, manifest)
    two_lengths = replace(manifest, chunk_digests=bytes(64))
    with pytest.raises(Corrupt, match="two lengths"):
        PieceMap(root, two_lengths)
