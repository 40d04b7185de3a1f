"""Whom to serve: a bound on upload connections, and one of each machine for each artifact.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.ids import Digest, MachineId
from fleetcast.model.limits import SWARM_UPLOADS_MAX


@dataclass(frozen=True, slots=True)
class Admission:
    admitted: bool
    replaces: int | None = None
    """An older connection of the same machine for the same artifact, to be ended: a machine that dials again has lost it."""


class Slots:
    """Connections are known by a number of the caller's."""

    def __init__(self) -> None:
        self._by_peer: dict[tuple[MachineId, Digest], int] = {}

    def admit(self, connection: int, machine: MachineId, digest: Digest) -> Admission:
        """At most ``SWARM_UPLOADS_MAX`` are admitted at a time."""
        older = self._by_peer.get((machine, digest))
        if older is None and len(self._by_peer) >= SWARM_UPLOADS_MAX:
            return Admission(admitted=False)
        self._by_peer[machine, digest] = connection
        return Admission(admitted=True, replaces=older)

    def leave(self, connection: int, machine: MachineId, digest: Digest) -> None:
        """A connection ended. One that was replaced has no slot any more."""
        if self._by_peer.get((machine, digest)) == connection:
            del self._by_peer[machine, digest]
