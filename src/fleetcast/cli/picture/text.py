"""Lines of a picture: text with tones, measured in terminal cells (pure)."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Tone(StrEnum):
    """What a piece of text means; whoever paints it chooses a colour."""

    PLAIN = "plain"
    TITLE = "title"
    GOOD = "good"
    BAD = "bad"
    BUSY = "busy"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Span:
    text: str
    tone: Tone = Tone.PLAIN


Line = tuple[Span, ...]

_UNITS: Final = "BKMGTPE"
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")
"""Colours and titles that a program meant for its own terminal."""
_LONG_HEX: Final = re.compile(r"\b[0-9a-f]{40}(?:[0-9a-f]{24})?\b")


@dataclass(frozen=True, slots=True)
class Symbols:
    """What a terminal can show: each one cell wide."""

    unheard: str
    fetching: str
    fetched: str
    switching: str
    active: str
    failed: str
    done: str
    """Of a bar: machines that run it; then content that is there; then the rest."""
    there: str
    rest: str
    more: str
    """Something was cut off here."""
    gutter: str
    """Left of somebody else's lines."""


UNICODE: Final = Symbols("·", "↓", "◐", "↻", "●", "✗", "█", "▒", "░", "…", "│")
ASCII: Final = Symbols(".", "v", "=", ">", "*", "x", "#", "=", ".", "~", "|")


def plain(line: Line) -> str:
    """The text of a line without its tones."""
    return "".join(span.text for span in line).rstrip()


def cells(text: str) -> int:
    """How many columns a terminal needs for ``text``, which :func:`clean` has seen."""
    return sum(_cells_of(character) for character in text)


def clean(text: str) -> str:
    """One line without anything that moves a cursor, commits and digests as short as people write them."""
    printable = "".join(character if character.isprintable() else " " for character in _ESCAPES.sub("", text))
    return _LONG_HEX.sub(lambda match: match[0][:12], " ".join(printable.split()))


def clip(text: str, width: int, more: str) -> str:
    """``text`` in at most ``width`` columns."""
    if cells(text) <= width:
        return text
    kept, left = "", width - cells(more)
    for character in text:
        left -= _cells_of(character)
        if left < 0:
            break
        kept += character
    return kept + more if width >= cells(more) else ""


def clip_line(line: Line, width: int, more: str) -> Line:
    """The same of a line."""
    kept: list[Span] = []
    left = width
    for span in line:
        text = clip(span.text, left, more)
        kept.append(Span(text, span.tone))
        left -= cells(text)
        if text != span.text:
            break
    return tuple(kept)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """``text`` filled up to ``width`` columns; ``right``: at its left."""
    fill = " " * max(0, width - cells(text))
    return fill + text if right else text + fill


def wrap(text: str, width: int, more: str) -> list[str]:
    """``text`` in lines of at most ``width`` columns, broken at spaces where there are any."""
    lines: list[str] = []
    current = ""
    for word in text.split(" "):
        candidate = f"{current} {word}" if current else word
        if cells(candidate) <= width:
            current = candidate
            continue
        if current:
            lines.append(current)
        current = clip(word, width, more)
    return [*lines, current] if current else lines


def amount(count: int) -> str:
    """Bytes in at most 5 columns: ``12.3M``, ``640K``, ``0``. Units are powers of 1024."""
    value, unit = float(count), 0
    while round(value) >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    if unit == 0:
        return str(count) if count == 0 else f"{count}B"
    return f"{value:.1f}{_UNITS[unit]}" if value < 99.95 else f"{value:.0f}{_UNITS[unit]}"


def span_of(seconds: float) -> str:
    """A duration in at most 6 columns: ``8s``, ``2m05s``, ``1h30m``."""
    whole = math.ceil(seconds - 0.05)
    if whole < 60:
        return f"{max(0, whole)}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def names(found: Sequence[str], most: int = 3) -> str:
    """Some names, and how many more there are: ``a, b, c and 4 more``."""
    more = len(found) - most
    return ", ".join(found[:most]) + (f" and {more} more" if more > 0 else "")


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
