"""Two kinds of chart as SVG (pure): how many have arrived by when, and bars to compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 44, 52
COLOURS = ("#1f77b4", "#d9730d", "#6a51a3", "#2a8f5b", "#8c564b")
INK, FAINT = "#333333", "#dddddd"
TICKS = 6
BAR, GAP, NAME_WIDTH = 26, 14, 170


@dataclass(frozen=True)
class Series:
    name: str
    values: tuple[float, ...]
    """Ascending."""


@dataclass(frozen=True)
class Bar:
    name: str
    value: float
    least: float
    greatest: float


def arrivals(title: str, series: Sequence[Series], bound: float, unit: str) -> str:
    """A step line each: how many values are at or below x. ``bound``: a vertical line that none can cross."""
    most = max(len(each.values) for each in series)
    step = tick(max([bound, *(each.values[-1] for each in series)]))
    end = step * math.ceil(max([bound, *(each.values[-1] for each in series)]) / step)
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(value: float) -> float:
        return LEFT + wide * value / end

    def y(count: float) -> float:
        return TOP + high * (1 - count / most)

    parts = [_text(LEFT, 22, title, size=15, weight="bold")]
    for number in range(round(end / step) + 1):
        parts += [_line(x(number * step), TOP, x(number * step), TOP + high, FAINT)]
        parts += [_text(x(number * step), TOP + high + 18, f"{number * step:g}", anchor="middle")]
    parts += [_text(LEFT + wide / 2, HEIGHT - 14, unit, anchor="middle")]
    for count in (0, most / 2, most):
        parts += [
            _line(LEFT, y(count), LEFT + wide, y(count), FAINT),
            _text(LEFT - 8, y(count) + 4, f"{count:g}", anchor="end"),
        ]
    parts += [_line(x(bound), TOP, x(bound), TOP + high, INK, dashed=True)]
    parts += [_text(x(bound) - 6, TOP + high - 8, "bound", anchor="end")]
    for number, (each, colour) in enumerate(zip(series, COLOURS, strict=False)):
        points = [(x(0), y(0))]
        for count, value in enumerate(each.values, 1):
            points += [(x(value), y(count - 1)), (x(value), y(count))]
        parts += [_path(points, colour)]
        parts += [_text(LEFT + 12, TOP + 20 + 18 * number, each.name, colour=colour, weight="bold")]
    return _document(HEIGHT, parts)


def bars(title: str, chart: Sequence[Bar], unit: str) -> str:
    """A bar each, with a whisker from the least to the greatest of its runs."""
    height = TOP + len(chart) * (BAR + GAP) + 30
    longest = max(each.greatest for each in chart)
    wide = WIDTH - LEFT - RIGHT - NAME_WIDTH - 60

    def x(value: float) -> float:
        return LEFT + NAME_WIDTH + wide * value / longest

    parts = [_text(LEFT, 22, title, size=15, weight="bold")]
    for number, (each, colour) in enumerate(zip(chart, COLOURS, strict=False)):
        top = TOP + number * (BAR + GAP)
        middle = top + BAR / 2
        parts += [_text(LEFT + NAME_WIDTH - 10, middle + 5, each.name, anchor="end")]
        parts += [f'<rect x="{x(0):.1f}" y="{top}" width="{x(each.value) - x(0):.1f}" height="{BAR}" fill="{colour}"/>']
        parts += [_line(x(each.least), middle, x(each.greatest), middle, INK)]
        parts += [_text(x(each.greatest) + 8, middle + 5, f"{each.value:g}", weight="bold")]
    parts += [_text(LEFT + NAME_WIDTH, height - 12, unit)]
    return _document(height, parts)


def tick(greatest: float) -> float:
    """A round distance, 1, 2 or 5 times a power of ten, of which at most ``TICKS`` reach ``greatest``, give or take one."""
    rough = greatest / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


def _document(height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height:g}" fill="white"/>', *parts, "</svg>\n"])


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = INK, size: int = 13, weight: str = "normal"
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" font-weight="{weight}" fill="{colour}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dash}/>'


def _path(points: Sequence[tuple[float, float]], colour: str) -> str:
    route = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{route}" fill="none" stroke="{colour}" stroke-width="2"/>'
