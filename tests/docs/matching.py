"""Is what a command printed what the page shows?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

ANY: Final = "..."


def matches(shown: Sequence[str], printed: Sequence[str]) -> bool:
    """Whether ``printed`` is what ``shown`` says. A line ``...`` stands for any lines, ``...`` in a line for anything."""
    patterns = [None if line.strip() == ANY else _pattern(line) for line in shown]

    @cache
    def from_here(pattern: int, line: int) -> bool:
        if pattern == len(patterns):
            return line == len(printed)
        wanted = patterns[pattern]
        if wanted is None:
            return from_here(pattern + 1, line) or (line < len(printed) and from_here(pattern, line + 1))
        return line < len(printed) and bool(wanted.fullmatch(printed[line].rstrip())) and from_here(pattern + 1, line + 1)

    return from_here(0, 0)


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in line.rstrip().split(ANY)))
