"""What the swarm asks of the region, seen from a peer's threads."""

from __future__ import annotations

from typing import Protocol

from fleetcast.model.ids import Digest
from fleetcast.model.messages.agents import AnnounceReply, AnnounceRequest, LeaseReply, LeaseRequest


class RegionDoor(Protocol):
    """Blocking, callable from any thread, each call bounded in time. Both raise :class:`Unavailable`; the swarm goes on
    without the region (law 6).
    """

    def announce(self, digest: Digest, request: AnnounceRequest) -> AnnounceReply: ...

    def lease(self, digest: Digest, request: LeaseRequest) -> LeaseReply: ...
