"""How many machines of each region a selector means, and how many of them say nothing.

Machines alike in all that a selector looks at are counted by the database and matched once. With 100,000 of them that is a
tenth of a second and more (where each has a label of its own, one to two seconds: SQLite), and the controller asks for each
deployment that distributes at each turn: so it counts all of them once a turn, for all deployments together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.machine import Machine, Selector
from fleetcast.rollouts.inventory import SILENT, may_match
from fleetcast.schema.columns import AnyRows
from fleetcast.schema.tables import machines, regions


@dataclass(frozen=True, slots=True)
class Meant:
    """How many machines of a region a selector matches."""

    machines: int
    silent: int
    """Those of them that no region has mentioned for twice ``MACHINE_SILENCE_S_MAX``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Machines that no selector tells apart."""

    like: Machine
    """One of them, but for its id and its rack."""
    count: Meant


Counting: TypeAlias = Callable[[AsyncConnection, Selector], Awaitable[Mapping[RegionName, Meant]]]
"""As :func:`meant`."""


async def meant(reading: AsyncConnection, selector: Selector, *, in_drained: bool = False) -> Mapping[RegionName, Meant]:
    """The machines of each region that ``selector`` matches; drained regions, retired machines and zeros left out.

    ``in_drained``: of drained regions, and no other.
    """
    return summed(await _kinds(reading, _alike(in_drained=in_drained).where(*may_match(selector))), selector)


async def expected(reading: AsyncConnection, selector: Selector, *, in_drained: bool = False) -> Mapping[RegionName, int]:
    """How many machines of each region count, as in :func:`meant`."""
    return {region: count.machines for region, count in (await meant(reading, selector, in_drained=in_drained)).items()}


def summed(kinds: Iterable[Kind], selector: Selector) -> Mapping[RegionName, Meant]:
    """What ``selector`` matches, by region."""
    found: dict[RegionName, Meant] = {}
    for kind in kinds:
        if selector.matches(kind.like):
            before = found.get(kind.like.region, Meant(0, 0))
            counted = Meant(before.machines + kind.count.machines, before.silent + kind.count.silent)
            found[kind.like.region] = counted
    return dict(sorted(found.items()))


class TurnCounts:
    """The fleet as it is counted when the first deployment of a turn asks. What is decided for good counts anew."""

    def __init__(self) -> None:
        self._shared = False
        self._kinds: tuple[Kind, ...] | None = None

    def begin(self, deployments: int) -> None:
        """A turn with so many deployments whose machines are counted: those that distribute. For one alone it is cheaper to
        leave out what its selector does not mean."""
        self._shared, self._kinds = deployments > 1, None

    async def meant(self, reading: AsyncConnection, selector: Selector) -> Mapping[RegionName, Meant]:
        """As :func:`meant`, at some moment since the turn began."""
        if not self._shared:
            return await meant(reading, selector)
        if self._kinds is None:
            self._kinds = await _kinds(reading, _alike(in_drained=False))
        return summed(self._kinds, selector)


def _alike(*, in_drained: bool) -> AnyRows:
    counted = (func.count().label("alike"), func.sum(case((SILENT, 1), else_=0)).label("silent"))
    return (
        select(machines.c.region, machines.c.zone, machines.c.labels, *counted)
        .join(regions)
        .where(machines.c.retired_at.is_(None), regions.c.drained.is_(in_drained))
        .group_by(machines.c.region, machines.c.zone, machines.c.labels)
    )


async def _kinds(reading: AsyncConnection, alike: AnyRows) -> tuple[Kind, ...]:
    return tuple(
        Kind(
            Machine(MachineId(""), RegionName(row.region), zone=row.zone, labels=row.labels), Meant(row.alike, int(row.silent))
        )
        for row in await reading.execute(alike)
    )
