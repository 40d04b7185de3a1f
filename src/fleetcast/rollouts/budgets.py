"""What is counted of a deployment's machines, and how much may go wrong before a release is sick, or the deployment waits for
those that say nothing (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from fleetcast.model.ids import RegionName
from fleetcast.model.limits import REASON_NAMES_MAX
from fleetcast.model.report import NamedFailure
from fleetcast.rollouts.reasons import and_more, named

_GATHERS: Final = " (its process has just started: the others may be on their way to it)"


class RegionCounts(Protocol):
    """What is counted of one region's machines."""

    @property
    def region(self) -> RegionName: ...

    @property
    def total(self) -> int: ...

    @property
    def healthy(self) -> int: ...

    @property
    def sick(self) -> int: ...

    @property
    def unreachable(self) -> int: ...

    @property
    def gathering(self) -> bool: ...

    @property
    def failures(self) -> tuple[NamedFailure, ...]: ...


def figures(regions: Sequence[RegionCounts], healthy: str) -> str:
    """``38 of 40 healthy, 1 failed, 1 unreachable``, in the word that stands for health."""
    parts = [f"{sum(region.healthy for region in regions)} of {sum(region.total for region in regions)} {healthy}"]
    for count, what in (
        (sum(region.sick for region in regions), "failed"),
        (sum(region.unreachable for region in regions), "unreachable"),
    ):
        parts += [f"{count} {what}"] if count else []
    return ", ".join(parts)


def standings(regions: Sequence[RegionCounts], healthy: str) -> str:
    """The figures of each, the first few, and of whom nothing can be said yet."""
    texts = [f"{region.region}: {figures([region], healthy)}" + (_GATHERS if region.gathering else "") for region in regions]
    return "; ".join(texts[:REASON_NAMES_MAX]) + and_more(len(texts) - REASON_NAMES_MAX)


def too_many_sick(regions: Sequence[RegionCounts], percent: int) -> str | None:
    """Rounded down for the whole, so that of few machines none may fail; up for each region, so that one machine of a small
    one does not stop all others. ``None``: it is within the budget."""
    total, sick = sum(region.total for region in regions), sum(region.sick for region in regions)
    may = total * percent // 100
    if sick > may:
        failures = [failure for region in regions for failure in region.failures]
        return f"{sick} of {total} machines failed, {_at_most(may)}: {named(failures, sick)}"
    for region in regions:
        may = -(-region.total * percent // 100)
        if region.sick > may:
            said = named(region.failures, region.sick)
            return f"{region.sick} of {region.total} machines failed in {region.region}, {_at_most(may)}: {said}"
    return None


def too_many_unreachable(count: int, of: int, percent: int) -> str | None:
    """What is waited for; ``None``: it is within the budget."""
    may = of * percent // 100
    return f"machines that say nothing: {count} of {of} are unreachable, {_at_most(may)} be" if count > may else None


def _at_most(count: int) -> str:
    return f"at most {count} may" if count else "none may"
