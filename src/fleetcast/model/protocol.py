"""The protocol version that every message carries (law 13)."""

from __future__ import annotations

from typing import Final

from fleetcast.model.errors import Incompatible

PROTOCOL: Final = 1
"""Version spoken by this program over HTTP and between peers."""


def check(theirs: int) -> None:
    """Accept a neighbour one version older or newer than this program.

    Raises:
        Incompatible: the distance is larger.
    """
    if abs(theirs - PROTOCOL) > 1:
        raise Incompatible(
            "incompatible_protocol",
            f"the other side speaks protocol {theirs}, this program {PROTOCOL}: upgrade the older one",
        )
