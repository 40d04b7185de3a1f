"""What people read."""

from __future__ import annotations

import pytest

from fleetcast.cli.demo.sizes import parse_size
from fleetcast.cli.output import seconds, size, table
from fleetcast.model.errors import Invalid


def test_tables_align_words_left_and_figures_right() -> None:
    assert table(["WHO", "HOW MANY"], [["a", "5"], ["somebody", "10"]]) == (
        "WHO       HOW MANY\n"
        "a                5\n"
        "somebody        10"
    )  # fmt: skip


def test_a_table_without_rows_is_its_header() -> None:
    assert table(["A", "B"], []) == "A  B"


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**30, "1.0 GiB"), (2**50, "1024.0 TiB")]
)
def test_sizes_for_people(count: int | None, text: str) -> None:
    assert size(count) == text


def test_durations_for_people() -> None:
    assert (seconds(None), seconds(0), seconds(3.14)) == ("-", "0.0 s", "3.1 s")


@pytest.mark.parametrize(
    ("text", "count"),
    [("1GiB", 2**30), ("64 MiB", 64 * 2**20), ("10MB", 10**7), ("4096", 4096), ("1.5kib", 1536), ("0", 0), ("10GB", 10**10)],
)
def test_sizes_from_people(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1 furlong", "10GiB", "1e9"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(Invalid):
        parse_size(text)
