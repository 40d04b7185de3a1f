"""What the swarm may take of a machine's network, all of its artifacts together."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleetcast.stores.limiter import Limiter


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Both limits may be changed at any time. Up, a piece is paid for before it is sent. Down, it is paid for when it is here,
    and its sender, or the origin, is asked for no other until then: so nothing is asked for that has to wait in buffers.
    """

    up: Limiter = field(default_factory=Limiter)
    down: Limiter = field(default_factory=Limiter)
    background: bool = True
    """Mark the sockets of the swarm and those to the origin."""
