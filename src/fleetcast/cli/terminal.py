"""What a terminal is shown differently from a pipe."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

from fleetcast.cli.output import in_colour, table


def coloured(stream: TextIO) -> bool:
    """Whether people look at ``stream`` and want colours: a terminal, and no ``NO_COLOR`` (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def stdout_width() -> int | None:
    """Columns of the terminal that standard output is; ``None``: it is none, and lines may be of any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output, with colours where they are wanted."""
    print(stdout_table(header, rows))


def stdout_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as part of a text for standard output, with colours where they are wanted."""
    return table(header, rows, colour=coloured(sys.stdout))


def verdict(word: str) -> str:
    """One word for standard output, in its colour where colours are wanted."""
    return in_colour(word, word.strip()) if coloured(sys.stdout) else word
