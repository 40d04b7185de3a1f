"""Machines counted by where they are, for limits that hold in each zone and each rack. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fleetcast.model.ids import MachineId
from fleetcast.model.machine import Machine


@dataclass(frozen=True, slots=True)
class Spot:
    """Empty: unknown. All that are nowhere known are taken to be in one place: there is no telling them apart."""

    zone: str = ""
    rack: str = ""

    @classmethod
    def of(cls, machine: Machine) -> Spot:
        """Where a machine says it is."""
        return cls(machine.zone, machine.rack)


@dataclass(frozen=True, slots=True)
class Counted:
    """How many there are in the whole region, and in one zone and one rack of it."""

    region: int
    zone: int
    rack: int


class Tally:
    """A set of machines that knows how many of them are where."""

    def __init__(self) -> None:
        self._spots: dict[MachineId, Spot] = {}
        self._zones: Counter[str] = Counter()
        self._racks: Counter[Spot] = Counter()

    def __len__(self) -> int:
        return len(self._spots)

    def __contains__(self, machine: MachineId) -> bool:
        return machine in self._spots

    def __iter__(self) -> Iterator[MachineId]:
        return iter(self._spots)

    def add(self, machine: MachineId, spot: Spot) -> None:
        """It is here now, and no longer where it was counted before."""
        self.discard(machine)
        self._spots[machine] = spot
        self._zones[spot.zone] += 1
        self._racks[spot] += 1

    def discard(self, machine: MachineId) -> None:
        """Count it no more; nothing happens when it was not counted."""
        spot = self._spots.pop(machine, None)
        if spot is not None:
            self._zones[spot.zone] -= 1
            self._racks[spot] -= 1
            if not self._zones[spot.zone]:
                del self._zones[spot.zone]
            if not self._racks[spot]:
                del self._racks[spot]

    def counted(self, spot: Spot, *, but: MachineId) -> Counted:
        """How many there are as seen from that place, one machine left out."""
        own = self._spots.get(but)
        region = len(self._spots) - (own is not None)
        zone = self._zones[spot.zone] - (own is not None and own.zone == spot.zone)
        return Counted(region, zone, self._racks[spot] - (own == spot))

    def spots(self) -> Iterator[tuple[MachineId, Spot]]:
        """Each machine, and where it is counted."""
        return iter(self._spots.items())
