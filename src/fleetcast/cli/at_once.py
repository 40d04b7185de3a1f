"""How many machines of a service may be down at a time, as people state and read it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from cyclopts import Parameter

if TYPE_CHECKING:
    from fleetcast.model.goal import Limits
    from fleetcast.model.messages.environments import EnvironmentSpec
    from fleetcast.model.messages.services import ServiceSpec

Spec = TypeVar("Spec", "ServiceSpec", "EnvironmentSpec")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class AtOnce:
    """Of a service's machines."""

    max_unavailable: int | None = None
    """How many machines of a region may restart at once; default: as many as like."""
    max_unavailable_zone: int | None = None
    """How many of those in one zone."""
    max_unavailable_rack: int | None = None
    """How many of those in one rack."""
    max_unavailable_rollback: int | None = None
    """How many machines of a region may restart at once to go back; default: as many as like."""

    def of(self, spec: Spec) -> Spec:
        """The service, or environment, with these bounds."""
        return replace(
            spec,
            max_unavailable=self.max_unavailable,
            max_unavailable_zone=self.max_unavailable_zone,
            max_unavailable_rack=self.max_unavailable_rack,
            max_unavailable_rollback=self.max_unavailable_rollback,
        )


UNBOUNDED: Final = AtOnce()


def at_once_text(limits: Limits) -> str:
    """For instance ``10, 1 of a rack``."""
    bounds = (
        (limits.max_unavailable, ""),
        (limits.max_unavailable_zone, " of a zone"),
        (limits.max_unavailable_rack, " of a rack"),
        (limits.max_unavailable_rollback, " in a rollback"),
    )
    return ", ".join(f"{most}{where}" for most, where in bounds if most is not None) or "any number"
