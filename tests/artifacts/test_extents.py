"""Offsets in the content lead to the right bytes of the right files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.artifacts.entries import Entry, EntryKind
from fleetcast.artifacts.extents import Extents


@given(st.lists(st.integers(0, 5), max_size=12), st.data())
def test_every_range_is_found_byte_for_byte(sizes: list[int], data: st.DataObject) -> None:
    extents = Extents(Entry(b"%03d" % number, EntryKind.FILE, size) for number, size in enumerate(sizes))
    every_byte = [(file, offset) for file, size in enumerate(sizes) for offset in range(size)]
    start = data.draw(st.integers(0, len(every_byte)))
    length = data.draw(st.integers(0, len(every_byte) - start))

    located = extents.locate(start, length)

    assert [(file, offset + step) for file, offset, count in located for step in range(count)] == every_byte[
        start : start + length
    ]
    assert all(extent.length > 0 for extent in located)


def test_a_range_outside_is_an_error() -> None:
    extents = Extents([Entry(b"a", EntryKind.FILE, 10)])
    for offset, length in ((0, 11), (10, 1), (-1, 1)):
        with pytest.raises(ValueError, match="not inside"):
            extents.locate(offset, length)
