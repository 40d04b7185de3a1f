"""What commands print: JSON for programs, aligned plain tables and short figures for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def print_json(value: object) -> None:
    """One line of JSON on standard output."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; those of which every cell is a figure are aligned right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    right = [bool(rows) and all(_is_figure(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


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


def short(commit: str) -> str:
    """As much of a commit or digest as a person reads."""
    return commit[:12]


def _is_figure(cell: str) -> bool:
    return cell in ("-", "") or cell[0].isdigit()
