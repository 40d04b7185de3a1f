"""What commands print: JSON for programs, aligned plain tables and short figures for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from fleetcast.model.spans import span

_COLOURS: Final = {
    **dict.fromkeys(("SUCCEEDED", "COMPLETE", "ok"), "32"),
    **dict.fromkeys(("FAILED", "ROLLED_BACK", "fail"), "31"),
    **dict.fromkeys(("QUEUED", "RUNNING", "BUILDING", "REPLICATING", "DISTRIBUTING", "PENDING", "warn"), "33"),
    **dict.fromkeys(("SUPERSEDED", "ABORTED"), "2"),
}
"""What the terminal is told (SGR codes), by state."""
_HEADING: Final = "\x1b[1m"
_PLAIN: Final = "\x1b[0m"
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def print_json(value: object) -> None:
    """One line of JSON on standard output."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, colour: bool = False) -> str:
    """Columns as wide as they need to be; those of which every cell is a figure are aligned right.

    ``colour``: the header is bold, and states have their colours.
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    right = [bool(rows) and all(_is_figure(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            _styled(cell.rjust(width) if to_right else cell.ljust(width), cell, heading=not number, colour=colour)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for number, line in enumerate(lines)
    )


def fitted(
    header: Sequence[str], rows: Sequence[Sequence[str]], ranks: Sequence[int], width: int | None
) -> tuple[list[str], list[list[str]]]:
    """The columns of a table that has room in ``width``; ``None``: all of them.

    ``ranks``: of the columns; those of the highest are left out first, all at once, and 0 never is.
    """
    lines, ranks = [list(header), *map(list, rows)], list(ranks)
    while width is not None and table_width(lines[0], lines[1:]) > width and (least := max(ranks)) > 0:
        lines = [[cell for cell, rank in zip(line, ranks, strict=True) if rank < least] for line in lines]
        ranks = [rank for rank in ranks if rank < least]
    return lines[0], lines[1:]


def table_width(header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """How many characters the widest line of a table has, blanks at its end included."""
    return sum(max(map(len, column)) + 2 for column in zip(header, *rows, strict=True)) - 2


def counted(count: int, one: str, many: str = "") -> str:
    """``1 region``, ``3 regions``; ``many``: where it is not ``one`` with an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def in_colour(text: str, word: str) -> str:
    """``text`` in the colour of ``word``, a state or a verdict; as it stands where that has none."""
    colour = _COLOURS.get(word)
    return text if colour is None else f"\x1b[{colour}m{text}{_PLAIN}"


def size(count: int | None) -> str:
    """Bytes for people: ``64.0 MiB``."""
    if count is None:
        return "-"
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def seconds(value: float | None) -> str:
    """A duration for people: ``3.2 s``."""
    return "-" if value is None else f"{value:.1f} s"


def when(time_ms: int) -> str:
    """A point in time for people, UTC: ``2026-01-05 09:00:00``."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def ago(seconds: float) -> str:
    """When something was, for people: ``3 min ago``. Clocks differ: what is yet to come was just now."""
    return f"{span(seconds)} ago"


def short(commit: str) -> str:
    """As much of a commit or digest as a person reads."""
    return commit[:12]


def _styled(padded: str, cell: str, *, heading: bool, colour: bool) -> str:
    if not colour:
        return padded
    return f"{_HEADING}{padded}{_PLAIN}" if heading else in_colour(padded, cell)


def _is_figure(cell: str) -> bool:
    return cell in ("-", "") or cell[0].isdigit()
