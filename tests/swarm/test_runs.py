"""What is read of the origin by one request, and where pieces arrive."""

from __future__ import annotations

from array import array

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.artifacts.manifest import Entry, EntryKind, Manifest, encode
from fleetcast.model.ids import Digest
from fleetcast.model.limits import CHUNK_BYTES_MAX, SWARM_BUFFERS_KEPT
from fleetcast.swarm.buffers import Buffers
from fleetcast.swarm.pieces import PieceMap
from fleetcast.swarm.runs import runs
from roots import root_of_manifest


def _where(chunks: list[int]) -> PieceMap:
    """An artifact whose content is these chunks; equal ones are repetitions."""
    size = sum(chunks)
    digests = b"".join(blake3(bytes([chunk])).digest() for chunk in chunks)
    manifest = Manifest((Entry(b"a", EntryKind.FILE, size),), array("I", chunks), digests, size, Digest("c" * 64))
    return PieceMap(root_of_manifest(encode(manifest), 1), manifest)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60), st.data(), st.integers(1, 20))
def test_a_run_is_one_range_of_its_blob(chunks: list[int], data: st.DataObject, most: int) -> None:
    where = _where(chunks)
    pieces = sorted(data.draw(st.sets(st.integers(0, where.count - 1))))
    found = runs(pieces, where, most)
    assert [piece for run in found for piece in run] == pieces
    for run in found:
        assert 1 <= len(run) <= most
        assert len({where.is_manifest(piece) for piece in run}) == 1
        offset = where.offset_in_blob(run[0])
        for piece in run:
            assert where.offset_in_blob(piece) == offset
            offset += where.length(piece)


def test_pieces_that_follow_one_another_are_one_run() -> None:
    where = _where([3, 4, 3, 5])
    first = where.manifest_count
    assert runs(range(where.count), where, 9) == [tuple(range(first)), (first, first + 1), (first + 2,)], "a repetition parts"
    assert runs([first, first + 1], where, 1) == [(first,), (first + 1,)]
    assert runs([first, first + 2], where, 9) == [(first,), (first + 2,)]


def test_a_buffer_that_was_used_last_is_used_next() -> None:
    buffers = Buffers()
    with buffers.borrow() as first:
        assert len(first) == CHUNK_BYTES_MAX
        with buffers.borrow() as second:
            assert second is not first
    with buffers.borrow() as again:
        assert again is first


def test_of_the_buffers_that_were_needed_at_a_time_few_are_kept() -> None:
    buffers = Buffers()

    def used(depth: int) -> set[int]:
        with buffers.borrow() as buffer:
            return {id(buffer)} | (used(depth - 1) if depth > 1 else set())

    before = used(SWARM_BUFFERS_KEPT + 4)
    assert len(before) == SWARM_BUFFERS_KEPT + 4
    assert len(before & used(SWARM_BUFFERS_KEPT)) == SWARM_BUFFERS_KEPT
