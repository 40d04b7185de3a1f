"""Every part can be verified by what is read for it, and all parts together are the content."""

from __future__ import annotations

import hashlib
from array import array
from itertools import pairwise

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.artifacts.manifest import Entry, EntryKind, Manifest
from fleetcast.model.ids import Digest
from fleetcast.model.limits import CHUNK_BYTES_MAX
from fleetcast.replication.copy_plan import CopyPlan


def manifest_of(content: bytes, lengths: list[int]) -> Manifest:
    digests, start = b"", 0
    for length in lengths:
        digests += blake3(content[start : start + length]).digest()
        start += length
    return Manifest(
        (Entry(b"file", EntryKind.FILE, len(content), b""),),
        array("I", lengths),
        digests,
        len(content),
        Digest(hashlib.sha256(content).hexdigest()),
    )


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 50))
def test_parts_cover_the_content_and_spans_verify(lengths: list[int], part_bytes: int) -> None:
    content = bytes(index % 251 for index in range(sum(lengths)))
    plan = CopyPlan(manifest_of(content, lengths), part_bytes)
    rebuilt = b""
    for number in range(1, plan.parts + 1):
        span = plan.span_of(number)
        read = content[span.start : span.end]
        assert len(read) <= plan.span_bytes_max
        for chunk in plan.chunks_in(span):
            assert blake3(read[chunk.start : chunk.end]).digest() == chunk.blake3
        covered = [(chunk.start, chunk.end) for chunk in plan.chunks_in(span)]
        assert covered[0][0] == 0
        assert covered[-1][1] == len(read)
        assert all(one[1] == two[0] for one, two in pairwise(covered))
        start = plan.start_of(number) - span.start
        rebuilt += read[start : start + plan.size_of(number)]
    assert rebuilt == content
    assert plan.size_of(plan.parts + 1) <= 0


def test_a_span_is_little_longer_than_its_part() -> None:
    lengths = [CHUNK_BYTES_MAX] * 4
    plan = CopyPlan(manifest_of(bytes(sum(lengths)), lengths), CHUNK_BYTES_MAX + 1)
    assert max(plan.span_of(number).end - plan.span_of(number).start for number in range(1, plan.parts + 1)) == (
        2 * CHUNK_BYTES_MAX
    )
