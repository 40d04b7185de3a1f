"""Lengths of time in words, as errors and commands tell them."""

from __future__ import annotations

import math
from typing import Final

_UNITS: Final = ((86_400, "day"), (3600, "h"), (60, "min"))
_PRECISE: Final = 3
"""A bound of no more units than so many is told in the next smaller one."""


def span(seconds: float) -> str:
    """As precise as anybody wants to know it: ``8 s``, ``3 min``, ``5 h``, ``2 days``. Less than nothing is ``0 s``."""
    for unit_s, name in _UNITS:
        if seconds >= unit_s:
            count = int(seconds // unit_s)
            return f"{count} {name}{'s' if name == 'day' and count > 1 else ''}"
    return f"{max(0, int(seconds))} s"


def at_most(seconds: float) -> str:
    """A bound in words, rounded up: ``8 s``, ``65 min``, ``30 h``."""
    for unit_s, name in _UNITS:
        if seconds > _PRECISE * unit_s:
            return f"{math.ceil(seconds / unit_s)} {name}{'s' if name == 'day' else ''}"
    return f"{max(0, math.ceil(seconds))} s"
