"""Which mirrors a worker gives up when they take too much disk. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mirror:
    """A bare mirror of one repository."""

    name: str
    size_bytes: int
    used_at_s: float
    """When it was last used."""
    in_use: bool


def given_up(mirrors: Sequence[Mirror], bytes_max: int) -> tuple[str, ...]:
    """Names of those to remove, the least recently used first, until the rest has room. One in use stays, even if there is
    none for it: its build goes on, and the next look is after it."""
    excess = sum(mirror.size_bytes for mirror in mirrors) - bytes_max
    names = []
    for mirror in sorted(mirrors, key=lambda mirror: (mirror.used_at_s, mirror.name)):
        if excess <= 0:
            break
        if not mirror.in_use:
            names.append(mirror.name)
            excess -= mirror.size_bytes
    return tuple(names)
