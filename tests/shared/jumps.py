"""Jumps of the database's clock, and a steady clock that tests lead against it."""

from __future__ import annotations

from typing import Final

import pytest

_YEARS: Final = 10 * 365 * 86_400

JUMPS: Final = [
    _YEARS,
    -_YEARS,
    *(pytest.param(sign * size, marks=pytest.mark.one_engine) for size in (3600, 86_400) for sign in (1, -1)),
]
"""In seconds. How far it jumps is nothing to the engine, as long as the widest fits."""


class Steady:
    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s
