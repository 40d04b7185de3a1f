"""What people read."""

from __future__ import annotations

import io
import re

import pytest

from fleetcast.cli.demo.sizes import parse_size
from fleetcast.cli.output import counted, fitted, in_colour, seconds, size, table, table_width, when
from fleetcast.cli.status import region_text
from fleetcast.cli.terminal import coloured
from fleetcast.model.errors import Invalid
from fleetcast.model.ids import RegionName
from fleetcast.model.messages.fleet import RegionDetail, RegionStatus


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


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_whose_owner_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured(_Terminal())
    assert not coloured(io.StringIO()), "a pipe"
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(_Terminal())
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert not coloured(_Terminal())


def test_colour_does_not_move_a_column() -> None:
    rows = [["web", "FAILED"], ["api", "SUCCEEDED"]]
    plain = table(["WHO", "STATE"], rows)
    shown = table(["WHO", "STATE"], rows, colour=True)
    assert in_colour("FAILED   ", "FAILED") in shown
    bare = re.sub("\x1b\\[[0-9]*m", "", shown)
    assert [line.rstrip() for line in bare.splitlines()] == plain.splitlines()


def test_columns_that_have_no_room_are_left_out_and_rows_stay_whole() -> None:
    header, rows, ranks = ["WHO", "SIZE", "ORIGIN", "PEERS"], [["a-service", "1 B", "2 B", "3 B"]], [0, 1, 2, 2]
    assert fitted(header, rows, ranks, None) == (header, rows)
    whole = table_width(header, rows)
    assert whole == max(map(len, table(header, rows).splitlines()))
    assert fitted(header, rows, ranks, whole) == (header, rows)
    assert fitted(header, rows, ranks, whole - 1) == (["WHO", "SIZE"], [["a-service", "1 B"]])
    assert fitted(header, rows, ranks, 1) == (["WHO"], [["a-service"]]), "what matters most is never left out"


def test_one_is_no_plural() -> None:
    assert (counted(0, "region"), counted(1, "region"), counted(2, "copy", "copies")) == ("0 regions", "1 region", "2 copies")


def test_points_in_time_for_people() -> None:
    assert when(1767603600000) == "2026-01-05 09:00:00"


def test_a_region_is_shown_with_its_alarms() -> None:
    status = RegionStatus(
        RegionName("eu"), drained=False, last_report_age_s=1.0, machines=2, alarms=("eu-1: its disk is full",)
    )
    text = region_text(RegionDetail(status, 60.0, 0, (), ()))
    assert "alarm: eu-1: its disk is full" in text.splitlines()
