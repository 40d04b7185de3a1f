"""The manifest is canonical, and nothing malformed gets past reading one."""

from __future__ import annotations

import hashlib
import time
from array import array
from dataclasses import replace

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.artifacts import entries as entries_module
from fleetcast.artifacts.entries import LINK_HOPS_MAX, Entry, EntryKind, broken_rule
from fleetcast.artifacts.manifest import Manifest, decode, encode, manifest_digest
from fleetcast.model.errors import Corrupt
from fleetcast.model.ids import Digest

DIRECTORY, FILE, EXECUTABLE, SYMLINK = EntryKind

names = st.binary(min_size=1, max_size=6).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)


def manifest_of(*entries: Entry) -> Manifest:
    size = sum(entry.size for entry in entries)
    lengths = array("I", [size] if size else [])
    digests = blake3(bytes(size)).digest() if size else b""
    return Manifest(tuple(entries), lengths, digests, size, Digest(hashlib.sha256(bytes(size)).hexdigest()))


def tree_like() -> Manifest:
    return manifest_of(
        Entry(b"bin", DIRECTORY),
        Entry(b"bin-old", FILE, 3),
        Entry(b"bin/run", EXECUTABLE, 5),
        Entry(b"bin/\xff", FILE, 0),
        Entry(b"run", SYMLINK, target=b"bin/run"),
    )


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    entries = []
    for name in sorted(draw(st.sets(names, max_size=5))):
        kind = draw(st.sampled_from([DIRECTORY, FILE, EXECUTABLE]))
        size = draw(st.integers(0, 1000)) if kind is not DIRECTORY else 0
        entries.append(Entry(name, kind, size))
        if kind is DIRECTORY:
            entries += [Entry(name + b"/" + below, FILE, 1) for below in sorted(draw(st.sets(names, max_size=3)))]
    return manifest_of(*sorted(entries, key=lambda entry: entry.path))


@given(manifests())
def test_reading_what_was_written_gives_the_same(manifest: Manifest) -> None:
    encoded = encode(manifest)
    assert decode(encoded) == manifest
    assert encode(decode(encoded)) == encoded


@given(st.integers(0, len(encode(tree_like())) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_what_is_read(position: int, change: int) -> None:
    original = encode(tree_like())
    damaged = bytearray(original)
    damaged[position] ^= change
    try:
        read = decode(bytes(damaged))
    except Corrupt:
        return
    assert read != tree_like()
    assert encode(read) == damaged
    assert manifest_digest(bytes(damaged)) != manifest_digest(original)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(Corrupt):
        decode(noise)


@pytest.mark.parametrize("cut", [0, 10, 63, 70, -1, -33])
def test_an_incomplete_one_is_refused(cut: int) -> None:
    with pytest.raises(Corrupt):
        decode(encode(tree_like())[:cut])


def test_bytes_behind_the_end_are_refused() -> None:
    with pytest.raises(Corrupt):
        decode(encode(tree_like()) + b"\0")


def test_tables_that_do_not_add_up_are_refused() -> None:
    manifest = tree_like()
    for wrong in (
        replace(manifest, content_size=manifest.content_size + 1),
        replace(manifest, chunk_lengths=array("I", [manifest.content_size - 1])),
        replace(manifest, chunk_lengths=array("I", [manifest.content_size, 0]), chunk_digests=manifest.chunk_digests * 2),
    ):
        with pytest.raises(Corrupt):
            decode(encode(wrong))


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([Entry(b"b", FILE), Entry(b"a", FILE)], id="out of order"),
        pytest.param([Entry(b"a", FILE), Entry(b"a", FILE)], id="twice"),
        pytest.param([Entry(b"/etc/passwd", FILE)], id="absolute"),
        pytest.param([Entry(b"..", DIRECTORY)], id="parent"),
        pytest.param([Entry(b"a", DIRECTORY), Entry(b"a/../b", FILE)], id="parent inside"),
        pytest.param([Entry(b"a", DIRECTORY), Entry(b"a//b", FILE)], id="empty part"),
        pytest.param([Entry(b"a", DIRECTORY), Entry(b"a/.", FILE)], id="dot"),
        pytest.param([Entry(b"", DIRECTORY)], id="empty"),
        pytest.param([Entry(b"a\0b", FILE)], id="NUL"),
        pytest.param([Entry(b"x" * 256, FILE)], id="overlong part"),
        pytest.param([Entry(b"a/b", FILE)], id="no parent"),
        pytest.param([Entry(b"a", FILE), Entry(b"a/b", FILE)], id="parent is a file"),
        pytest.param([Entry(b"a", SYMLINK, target=b"."), Entry(b"a/b", FILE)], id="parent is a symlink"),
        pytest.param([Entry(b"a", DIRECTORY, 1)], id="directory with a size"),
        pytest.param([Entry(b"a", FILE, target=b"b")], id="file with a target"),
        pytest.param([Entry(b"a", SYMLINK, target=b"/etc")], id="absolute link"),
        pytest.param([Entry(b"a", SYMLINK, target=b"..")], id="link out"),
        pytest.param([Entry(b"a", SYMLINK, target=b"gone")], id="dangling link"),
        pytest.param([Entry(b"a", SYMLINK, target=b"b"), Entry(b"b", SYMLINK, target=b"a")], id="link loop"),
        pytest.param([Entry(b"a", SYMLINK, target=b"f/"), Entry(b"f", FILE)], id="file taken for a directory"),
        pytest.param(
            [
                Entry(b"d", DIRECTORY),
                Entry(b"d/e", DIRECTORY),
                Entry(b"d/e/up", SYMLINK, target=b"../.."),
                Entry(b"out", SYMLINK, target=b"d/e/up/../x"),
            ],
            id="link that leaves through another link",
        ),
    ],
)
def test_entries_that_break_a_rule_are_refused(entries: list[Entry]) -> None:
    assert broken_rule(entries) is not None
    with pytest.raises(Corrupt):
        decode(encode(manifest_of(*entries)))


def test_links_that_stay_inside_are_taken() -> None:
    entries = [
        Entry(b"lib", DIRECTORY),
        Entry(b"lib/a.so.1", FILE, 4),
        Entry(b"lib/a.so", SYMLINK, target=b"a.so.1"),
        Entry(b"lib/self", SYMLINK, target=b".."),
        Entry(b"lib64", SYMLINK, target=b"lib"),
        Entry(b"so", SYMLINK, target=b"lib64/../lib/self/lib64/a.so"),
    ]
    assert broken_rule(sorted(entries, key=lambda entry: entry.path)) is None


def _chain(length: int) -> list[Entry]:
    """Each link leads to the one before it, and the first to a file."""
    names = [f"l{number:06}".encode() for number in range(length)]
    links = [Entry(name, SYMLINK, target=before) for before, name in zip([b"file", *names[:-1]], names, strict=True)]
    return [Entry(b"file", FILE), *links]


def test_links_are_followed_as_far_as_the_kernel_does() -> None:
    assert broken_rule(_chain(LINK_HOPS_MAX)) is None
    assert "over more than" in (broken_rule(_chain(LINK_HOPS_MAX + 1)) or "")


@pytest.mark.parametrize("backwards", [False, True])
def test_many_chained_links_are_refused_at_once(backwards: bool) -> None:
    entries = _chain(20_000)
    if backwards:
        entries = [Entry(b"a", SYMLINK, target=b"l019999"), *entries]
    begun = time.process_time()
    with pytest.raises(Corrupt):
        decode(encode(manifest_of(*entries)))
    assert time.process_time() - begun < 5


def test_links_through_links_are_each_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every link goes through the long one; followed anew each time, these are four million parts.
    long = Entry(b"a", SYMLINK, target=b"./" * 2000 + b"d")
    entries = [
        long,
        Entry(b"d", DIRECTORY),
        *(Entry(f"l{number:06}".encode(), SYMLINK, target=b"a/.") for number in range(2000)),
    ]
    monkeypatch.setattr(entries_module, "LINK_STEPS_MAX", 2001 + 2 * 2000)
    assert broken_rule(entries) is None
    monkeypatch.setattr(entries_module, "LINK_STEPS_MAX", 2001 + 2 * 2000 - 1)
    assert "parts together" in (broken_rule(entries) or "")
