"""What a copy takes from older artifacts and what travels: together everything, and not in thousands of requests."""

from __future__ import annotations

import hashlib
from array import array
from itertools import pairwise

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.artifacts.manifest import Entry, EntryKind, Manifest
from fleetcast.model.ids import Digest
from fleetcast.model.limits import COPY_JOIN_BYTES, KIB
from fleetcast.replication.copy_plan import CopyPlan
from fleetcast.replication.reuse import NOWHERE, Reuse, Run, travelling

WORDS = [bytes([letter]) * (40 * KIB + letter) for letter in range(12)]
"""What artifacts here are made of: chunks of about a sixth of ``COPY_JOIN_BYTES``."""
SENTENCES = st.lists(st.integers(0, len(WORDS) - 1), min_size=1, max_size=40)


def content_of(sentence: list[int]) -> bytes:
    return b"".join(WORDS[word] for word in sentence)


def manifest_of(sentence: list[int]) -> Manifest:
    content = content_of(sentence)
    return Manifest(
        (Entry(b"file", EntryKind.FILE, len(content), b""),),
        array("I", (len(WORDS[word]) for word in sentence)),
        b"".join(blake3(WORDS[word]).digest() for word in sentence),
        len(content),
        Digest(hashlib.sha256(content).hexdigest()),
    )


def runs_of(reuse: Reuse, manifest: Manifest, part_bytes: int) -> list[tuple[int, list[Run]]]:
    """Those of each part, with where its span begins."""
    plan = CopyPlan(manifest, part_bytes)
    spans = [plan.span_of(number) for number in range(1, plan.parts + 1)]
    return [(span.start, list(reuse.runs(span, plan.chunks_in(span)))) for span in spans]


@given(SENTENCES, st.lists(SENTENCES, max_size=3), st.integers(30 * KIB, 900 * KIB), st.sets(st.integers(0, 2)))
def test_every_byte_comes_from_where_it_is(new: list[int], old: list[list[int]], part_bytes: int, gone: set[int]) -> None:
    manifest, content = manifest_of(new), content_of(new)
    reuse = Reuse(manifest)
    assert [reuse.add(manifest_of(sentence)) for sentence in old] == list(range(len(old)))
    for base in gone:
        reuse.drop(base)
    for start, runs in runs_of(reuse, manifest, part_bytes):
        assert runs[0].start == 0
        assert all(one.end == two.start for one, two in pairwise(runs)), "a gap, or something is read twice"
        for run in runs:
            assert run.base not in gone
            place = content if run.base == NOWHERE else content_of(old[run.base])
            assert place[run.offset : run.offset + run.end - run.start] == content[start + run.start : start + run.end]


@given(SENTENCES, st.lists(SENTENCES, max_size=3))
def test_what_is_there_does_not_travel_but_to_save_a_request(new: list[int], old: list[list[int]]) -> None:
    manifest = manifest_of(new)
    reuse = Reuse(manifest)
    for sentence in old:
        reuse.add(manifest_of(sentence))
    held = {word for sentence in old for word in sentence}
    missing = sum(len(WORDS[word]) for word in new if word not in held)
    assert reuse.bytes_missing() == missing
    [(_, runs)] = runs_of(reuse, manifest, max(1, manifest.content_size))
    travelling_runs = [run for run in runs if run.base == NOWHERE]
    joins = sum(1 for _ in travelling_runs)
    travels = sum(run.end - run.start for run in travelling_runs)
    assert missing <= travels
    gaps = sum(1 for before, word in zip([None, *new], new, strict=False) if word not in held and before in {None, *held})
    assert travels - missing <= COPY_JOIN_BYTES * max(0, gaps - joins), "more than the requests it saved are worth"


@given(SENTENCES, SENTENCES)
def test_stretches_that_travel_are_far_apart(new: list[int], old: list[int]) -> None:
    manifest = manifest_of(new)
    reuse = Reuse(manifest)
    reuse.add(manifest_of(old))
    for _, runs in runs_of(reuse, manifest, 600 * KIB):
        missing = [run for run in runs if run.base == NOWHERE]
        assert all(two.start - one.end >= COPY_JOIN_BYTES for one, two in pairwise(missing))
        assert all((one.base, one.offset + one.end - one.start) != (two.base, two.offset) for one, two in pairwise(runs)), (
            "two requests for what one reads"
        )


def test_what_an_insertion_moved_is_one_request() -> None:
    old, new = list(range(10)), [11, *range(10)]
    reuse = Reuse(manifest_of(new))
    reuse.add(manifest_of(old))
    [(_, runs)] = runs_of(reuse, manifest_of(new), 10**9)
    assert [(run.base, run.offset) for run in runs] == [(NOWHERE, 0), (0, 0)]


def test_of_a_chunk_that_is_there_twice_the_one_that_follows_is_read() -> None:
    old, new = [3, 1, 2, 3, 4], [2, 3, 4]
    reuse = Reuse(manifest_of(new))
    reuse.add(manifest_of(old))
    [(_, runs)] = runs_of(reuse, manifest_of(new), 10**9)
    assert len(runs) == 1


def test_the_first_artifact_that_has_a_chunk_is_asked() -> None:
    reuse = Reuse(manifest_of([1, 2]))
    reuse.add(manifest_of([1, 2]))
    reuse.add(manifest_of([1, 2, 3]))
    [(_, runs)] = runs_of(reuse, manifest_of([1, 2]), 10**9)
    assert [run.base for run in runs] == [0]


def test_chunks_that_follow_each_other_travel_in_one_request() -> None:
    plan = CopyPlan(manifest_of([1, 2, 3, 4]), 10**9)
    places = list(plan.chunks_in(plan.span_of(1)))
    runs = travelling(plan.span_of(1), [places[0], places[1], places[3]])
    assert [(run.start, run.end) for run in runs] == [(0, places[1].end), (places[3].start, places[3].end)]
