"""Figures as people read them (pure): rounded, with the spread of their runs, in Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Numbers to the right of their first column."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows)) + "\n"


def spread(contestant: Mapping[str, Any], name: str, digits: int = 2) -> str:
    """The median, and the least and the greatest of the runs where they differ; ``-`` where there is no such figure."""
    if name not in contestant:
        return "-"
    least, greatest = (f"{each:.{digits}f}" for each in contestant["spread"][name])
    median = f"{contestant[name]:.{digits}f}"
    return median if least == greatest else f"{median} ({least} to {greatest})"


def size(size_bytes: int) -> str:
    """In the largest binary unit of which it is a whole number."""
    for unit, bytes_ in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes % bytes_ == 0:
            return f"{size_bytes // bytes_} {unit}"
    return f"{size_bytes} bytes"
