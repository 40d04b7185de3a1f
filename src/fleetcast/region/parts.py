"""What the handlers of a region's API work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from fleetcast.region.machines import MachineBook
from fleetcast.region.permit_note import PermitNote
from fleetcast.region.permits import PermitBook
from fleetcast.region.rollbacks import RegionRollbacks
from fleetcast.region.swarms import Swarms
from fleetcast.region.view import RegionView


@dataclass(frozen=True, slots=True)
class Parts:
    view: RegionView
    machines: MachineBook
    permits: PermitBook
    permit_note: PermitNote
    swarms: Swarms
    rollbacks: RegionRollbacks


PartsHere: TypeAlias = NamedDependency[SkipValidation[Parts]]
"""The type of a handler's ``parts`` parameter."""
