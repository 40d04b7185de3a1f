"""A table that fits: columns that matter least go first, and one of them takes what is left (pure)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fleetcast.cli.picture.text import Line, Span, Tone, cells, clip, clip_line, pad

GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Column:
    """``texts``: from top to bottom. ``rank``: columns of a higher one are left out first; 0 never is."""

    title: str
    texts: Sequence[str]
    rank: int = 0
    right: bool = True
    tones: Sequence[Tone] = ()
    """Of the texts; none: plain."""
    width_max: int = 1000

    @property
    def width(self) -> int:
        return min(self.width_max, max(cells(text) for text in (self.title, *self.texts)))


@dataclass(frozen=True, slots=True)
class Elastic:
    """A column that takes what the others leave: ``draw(row, width)``."""

    title: str
    draw: Callable[[int, int], Line]
    after: int
    """Its place: how many of the columns come before it."""
    width_min: int
    width_max: int
    rank: int = 0


def table(columns: Sequence[Column], elastic: Elastic | None, rows: int, width: int, more: str) -> list[Line]:
    """Header and ``rows`` lines of at most ``width`` columns."""
    places: list[Column | Elastic] = list(columns)
    if elastic is not None:
        places.insert(elastic.after, elastic)
    while (left := width - _needed(places)) < 0:
        rank = max(place.rank for place in places)
        if rank == 0:
            break
        places.remove(next(place for place in reversed(places) if place.rank == rank))
    lines = []
    for row in range(-1, rows):
        line: list[Span] = []
        for place in places:
            line += [Span(" " * GAP)] if line else []
            line += _cell(place, row, left, more)
        lines.append(clip_line(tuple(line), width, more))
    return lines


def _needed(places: Sequence[Column | Elastic]) -> int:
    widths = [place.width if isinstance(place, Column) else place.width_min for place in places]
    return sum(widths) + GAP * (len(places) - 1)


def _cell(place: Column | Elastic, row: int, left: int, more: str) -> Line:
    if isinstance(place, Elastic):
        width = min(place.width_max, place.width_min + max(0, left))
        return (Span(pad(place.title, width), Tone.QUIET),) if row < 0 else place.draw(row, width)
    text = place.title if row < 0 else clip(place.texts[row], place.width, more)
    tone = Tone.QUIET if row < 0 else place.tones[row] if place.tones else Tone.PLAIN
    return (Span(pad(text, place.width, right=place.right), tone),)
