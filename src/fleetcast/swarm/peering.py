"""Whom the tracker introduces to whom: a near random-regular graph, biased towards the same rack and zone, with guaranteed
edges out of them.

A graph grown by arrival, where the first are known to all and the last to nobody, loses at the tail; so of several random
members the least introduced one is taken. A purely local graph starves whole racks; so some introductions always lead out.

Pure. The price of an introduction does not grow with the swarm.
"""

from __future__ import annotations

from random import Random
from typing import Final, TypeVar

from fleetcast.model.ids import MachineId
from fleetcast.model.messages.agents import PeerAddress

RACK_SHARE: Final = 0.5
"""Of the introductions, where the rack has so many others."""
ZONE_SHARE: Final = 0.25
"""Of the introductions, in the zone; the rest is from anywhere: the guaranteed edges out."""
CHOICES: Final = 2
"""Random members of which the least introduced is taken."""
GATHERING_PARTS: Final = 3
GATHERING_MIN: Final = 3
"""Nobody is told of more than one in so many members at a time, or of so many where that is more."""


_Key = TypeVar("_Key")


class _Group:
    """A set of machines from which a random one can be had at a constant price."""

    def __init__(self) -> None:
        self._members: list[MachineId] = []
        self._places: dict[MachineId, int] = {}

    def __len__(self) -> int:
        return len(self._members)

    def add(self, machine: MachineId) -> None:
        self._places[machine] = len(self._members)
        self._members.append(machine)

    def remove(self, machine: MachineId) -> None:
        place = self._places.pop(machine)
        last = self._members.pop()
        if last != machine:
            self._members[place] = last
            self._places[last] = place

    def any(self, rng: Random) -> MachineId:
        return self._members[int(rng.random() * len(self._members))]

    def all(self) -> list[MachineId]:
        return list(self._members)


class Roster:
    """The members of one swarm, by place."""

    def __init__(self) -> None:
        self._addresses: dict[MachineId, PeerAddress] = {}
        self._introduced: dict[MachineId, int] = {}
        self._everybody = _Group()
        self._racks: dict[tuple[str, str], _Group] = {}
        self._zones: dict[str, _Group] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def __contains__(self, machine: object) -> bool:
        return machine in self._addresses

    def put(self, address: PeerAddress) -> None:
        """A member is here, perhaps under a new address."""
        if self._addresses.get(address.machine) == address:
            return
        introduced = self._introduced.get(address.machine, 0)
        self.drop(address.machine)
        self._addresses[address.machine] = address
        self._introduced[address.machine] = introduced
        self._everybody.add(address.machine)
        if address.rack:
            self._racks.setdefault((address.zone, address.rack), _Group()).add(address.machine)
        if address.zone:
            self._zones.setdefault(address.zone, _Group()).add(address.machine)

    def drop(self, machine: MachineId) -> None:
        """Nothing happens when it is no member."""
        address = self._addresses.pop(machine, None)
        if address is None:
            return
        del self._introduced[machine]
        self._everybody.remove(machine)
        if address.rack:
            _leave(self._racks, (address.zone, address.rack), machine)
        if address.zone:
            _leave(self._zones, address.zone, machine)

    def introduce(self, asker: PeerAddress, want: int, rng: Random) -> tuple[PeerAddress, ...]:
        """Up to ``want`` members other than the asker; all of them when there are no more."""
        # While a swarm gathers everybody is introduced to a part of those who are there, or the first would be known to all.
        want = min(want, max(GATHERING_MIN, len(self) // GATHERING_PARTS))
        if want <= 0:
            return ()
        if len(self) <= want + 1:
            chosen = [machine for machine in self._everybody.all() if machine != asker.machine]
            rng.shuffle(chosen)
            chosen = chosen[:want]
        else:
            chosen = self._choose(asker, want, rng)
        for machine in chosen:
            self._introduced[machine] += 1
        return tuple(self._addresses[machine] for machine in chosen)

    def _choose(self, asker: PeerAddress, want: int, rng: Random) -> list[MachineId]:
        chosen: dict[MachineId, None] = {}
        rack = self._racks.get((asker.zone, asker.rack)) if asker.rack else None
        zone = self._zones.get(asker.zone) if asker.zone else None
        near = int(want * RACK_SHARE)
        self._draw(rack, near, asker.machine, chosen, rng)
        self._draw(zone, near + int(want * ZONE_SHARE), asker.machine, chosen, rng)
        self._draw(self._everybody, want, asker.machine, chosen, rng)
        return list(chosen)

    def _draw(self, group: _Group | None, until: int, asker: MachineId, chosen: dict[MachineId, None], rng: Random) -> None:
        """Draw from ``group`` until ``chosen`` has ``until`` members, or chance has been against it for too long."""
        if group is None:
            return
        if len(group) <= until:
            members = [machine for machine in group.all() if machine != asker]
            rng.shuffle(members)
            chosen.update(dict.fromkeys(members[: until - len(chosen)]))
            return
        for _ in range(4 * until):
            if len(chosen) >= until:
                return
            machine = min((group.any(rng) for _ in range(CHOICES)), key=self._introduced.__getitem__)
            if machine != asker:
                chosen[machine] = None


def _leave(groups: dict[_Key, _Group], key: _Key, machine: MachineId) -> None:
    groups[key].remove(machine)
    if not len(groups[key]):
        del groups[key]
