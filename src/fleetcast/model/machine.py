"""A host of the company, and how services say which hosts they want."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetcast.model.ids import MachineId, RegionName


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a machine is and what it is labelled with. Empty ``zone`` or ``rack`` means unknown."""

    id: MachineId
    region: RegionName
    zone: str = ""
    rack: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selector:
    """All stated conditions must hold; an empty selector matches every machine."""

    regions: tuple[RegionName, ...] = ()
    """Any of these; empty: all."""
    zones: tuple[str, ...] = ()
    """Any of these; empty: all."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Every pair must be on the machine."""

    def matches(self, machine: Machine) -> bool:
        return (
            (not self.regions or machine.region in self.regions)
            and (not self.zones or machine.zone in self.zones)
            and all(machine.labels.get(key) == value for key, value in self.labels.items())
        )
