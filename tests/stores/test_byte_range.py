"""Which bytes a ``Range`` header asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.stores.byte_range import asked_range


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-4", (2, 3)),
        (" bytes=2-4 ", (2, 3)),
        ("bytes=7-", (7, 3)),
        ("bytes=7-99", (7, 3)),
        ("bytes=-3", (7, 3)),
        ("bytes=-99", (0, 10)),
        ("bytes=10-", None),
        ("bytes=10-11", None),
        ("bytes=4-2", None),
        ("bytes=-0", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("bytes=0-1,", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("bytes=--1", None),
        ("bytes=+1-2", None),
        ("bytes=²-3", None),
        ("", None),
        ("bytes=" + "9" * 4000 + "-", None),
    ],
)
def test_ten_bytes(header: str, span: tuple[int, int] | None) -> None:
    assert asked_range(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_nothing_can_be_asked_of_an_empty_blob(header: str) -> None:
    assert asked_range(header, 0) is None


@given(size=st.integers(0, 30), first=st.none() | st.integers(0, 40), last=st.none() | st.integers(0, 40))
def test_it_selects_what_a_slice_would(size: int, first: int | None, last: int | None) -> None:
    blob = bytes(range(size))
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    if first is not None:
        expected = blob[first : None if last is None else last + 1]
        if last is not None and last < first:
            expected = b""
    elif last:
        expected = blob[-last:]
    else:
        expected = b""
    span = asked_range(header, size)
    assert (b"" if span is None else blob[span[0] : sum(span)]) == expected
    assert span is None or span[1] >= 1
