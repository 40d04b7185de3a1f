"""Who is in which swarm, as far as this region process has been told lately. Soft: lost with the process, and told again
within one announce interval.

Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from random import Random

from fleetcast.model.ids import Digest, MachineId
from fleetcast.model.limits import ANNOUNCE_LIFETIME_S, SWARM_INTRODUCED_MAX
from fleetcast.model.messages.agents import AnnounceRequest, PeerAddress
from fleetcast.swarm.peering import Roster


class _Swarm:
    def __init__(self) -> None:
        self.roster = Roster()
        self.heard: OrderedDict[MachineId, float] = OrderedDict()
        """When each member announced itself last; the one longest silent first."""

    def expire(self, now: float) -> None:
        while self.heard:
            machine, heard_at = next(iter(self.heard.items()))
            if now - heard_at < ANNOUNCE_LIFETIME_S:
                return
            self.drop(machine)

    def drop(self, machine: MachineId) -> None:
        self.heard.pop(machine, None)
        self.roster.drop(machine)


class Tracker:
    """``now`` is seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._swarms: dict[Digest, _Swarm] = {}

    def announce(self, digest: Digest, request: AnnounceRequest, now: float, rng: Random) -> tuple[PeerAddress, ...]:
        """Note a member for ``ANNOUNCE_LIFETIME_S`` (or that it leaves), and introduce it to as many others as it wants, at
        most ``SWARM_INTRODUCED_MAX``.
        """
        swarm = self._swarms.setdefault(digest, _Swarm())
        swarm.expire(now)
        peer = request.peer
        if request.leaving:
            swarm.drop(peer.machine)
            if not swarm.heard:
                del self._swarms[digest]
            return ()
        swarm.roster.put(peer)
        swarm.heard[peer.machine] = now
        swarm.heard.move_to_end(peer.machine)
        return swarm.roster.introduce(peer, min(request.want, SWARM_INTRODUCED_MAX), rng)

    def alive(self, digest: Digest, machine: MachineId, now: float) -> bool:
        """Whether this machine announced itself to this swarm lately."""
        swarm = self._swarms.get(digest)
        heard_at = swarm.heard.get(machine) if swarm is not None else None
        return heard_at is not None and now - heard_at < ANNOUNCE_LIFETIME_S

    def members(self, digest: Digest, now: float) -> int:
        """How many announced themselves to this swarm lately."""
        swarm = self._swarms.get(digest)
        if swarm is None:
            return 0
        swarm.expire(now)
        return len(swarm.roster)

    def expire(self, now: float) -> None:
        """Forget all that is too old; call it now and then, so that swarms nobody asks about go too."""
        for digest, swarm in list(self._swarms.items()):
            swarm.expire(now)
            if not swarm.heard:
                del self._swarms[digest]
