"""The protocol version that every message carries (law 13)."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from fleetcast.model.errors import Incompatible
from fleetcast.model.spelling import stated

PROTOCOL: Final = 1
"""Version spoken by this program over HTTP and between peers."""
Protocol: TypeAlias = Annotated[int, stated(minimum=PROTOCOL - 1, maximum=PROTOCOL + 1)]
"""Of a message; as :func:`check` takes it."""


def check(theirs: int, other: str = "the other side", this: str = "this program") -> None:
    """Accept a neighbour one version older or newer than this program. ``other`` and ``this`` are what the two are called in
    the error, which either may come to read.

    Raises:
        Incompatible: the distance is larger.
    """
    if abs(theirs - PROTOCOL) > 1:
        older = other if theirs < PROTOCOL else this
        raise Incompatible("incompatible_protocol", f"{other} speaks protocol {theirs}, {this} {PROTOCOL}: upgrade {older}")
