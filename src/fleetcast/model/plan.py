"""How a deployment reaches its machines: the policy that people choose, and the waves that come of it for one fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from fleetcast.model.check import Check
from fleetcast.model.freeze import Freeze
from fleetcast.model.ids import RegionName
from fleetcast.model.limits import (
    APPROVALS_MAX,
    BAKE_S_MAX,
    CHECKS_MAX,
    FREEZES_MAX,
    PLAN_REGIONS_MAX,
    REGION_MACHINES_MAX,
    STAGE_NAME_CHARS_MAX,
    STAGES_MAX,
)
from fleetcast.model.machine import Selector
from fleetcast.model.spelling import stated


class Preset(StrEnum):
    """Policies that have a name."""

    ALL_AT_ONCE = "all-at-once"
    CANARY = "canary"
    REGION_BY_REGION = "region-by-region"
    CAUTIOUS = "cautious"


class WhenBusy(StrEnum):
    """What a deployment does that is ready while an earlier one of the service is under way."""

    SUPERSEDE = "supersede"
    """Take its place."""
    QUEUE = "queue"
    """Wait until it has ended, and all others that were triggered before."""


@dataclass(frozen=True, slots=True)
class Stage:
    """An ordered step: which of the service's machines, how many of them, and how long they are watched.

    With neither ``percent`` nor ``count`` it is all of them.
    """

    name: Annotated[str, stated(maxLength=STAGE_NAME_CHARS_MAX)] = ""
    """For people; empty: what it selects."""
    regions: tuple[RegionName, ...] = ()
    zones: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    percent: Annotated[int, stated(minimum=1, maximum=100)] | None = None
    count: Annotated[int, stated(minimum=1, maximum=REGION_MACHINES_MAX)] | None = None
    """Of all that it selects, whatever their region."""
    by_region: bool = False
    """A wave for each ``regions_at_once`` regions, in the policy's order, instead of one."""
    bake_s: Annotated[int, stated(minimum=0, maximum=BAKE_S_MAX)] = 0
    """How long everybody has to stay healthy before the next wave."""
    approvals: Annotated[int, stated(minimum=0, maximum=APPROVALS_MAX)] = 0
    """People who have to approve before its first wave is let in."""
    checks: Annotated[tuple[Check, ...], stated(maxItems=CHECKS_MAX)] = ()
    """What is asked outside while one of its waves bakes."""

    @property
    def selector(self) -> Selector:
        return Selector(self.regions, self.zones, self.labels)

    @property
    def whole(self) -> bool:
        """Whether nobody is left when it is over."""
        return self.selector == Selector() and self.percent in (None, 100) and self.count is None


_Percent: TypeAlias = Annotated[int, stated(minimum=0, maximum=99)]


@dataclass(frozen=True, slots=True)
class Policy:
    """How deployments of a service are rolled out, whatever machines there are."""

    preset: Preset = Preset.ALL_AT_ONCE
    stages: Annotated[tuple[Stage, ...], stated(maxItems=STAGES_MAX)] = ()
    """In place of the preset's own."""
    regions_at_once: Annotated[int, stated(minimum=1, maximum=PLAN_REGIONS_MAX)] = 1
    """Of a stage that goes by region."""
    region_order: Annotated[tuple[RegionName, ...], stated(maxItems=PLAN_REGIONS_MAX)] = ()
    """These first, as they stand; the others follow by name."""
    failed_percent: _Percent = 5
    """Of the machines let in so far, in the whole and in each region: when more of them fail, the release is sick."""
    unreachable_percent: _Percent = 5
    """For more that say nothing a deployment waits: of the service's machines; of those that a wave let in, where they fell
    silent since. A rollback waits for none of them."""
    when_busy: WhenBusy = WhenBusy.SUPERSEDE
    approvals: Annotated[int, stated(minimum=0, maximum=APPROVALS_MAX)] = 0
    """People who have to approve before the first machine is let in."""
    self_approval: bool = False
    """Whoever deployed it may be one of them."""
    freezes: Annotated[tuple[Freeze, ...], stated(maxItems=FREEZES_MAX)] = ()
    """In which no wave is let in; beside those of the whole company."""

    @property
    def name(self) -> str:
        """For people."""
        return "its own stages" if self.stages else self.preset.value

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        """In order; none: everybody at once."""
        return self.stages or _STAGES[self.preset]


_CANARY: Final = Stage("canary", percent=1, bake_s=300)
_STAGES: Final[Mapping[Preset, tuple[Stage, ...]]] = {
    Preset.ALL_AT_ONCE: (),
    Preset.CANARY: (_CANARY, Stage("everyone")),
    Preset.REGION_BY_REGION: (Stage(by_region=True, bake_s=120),),
    Preset.CAUTIOUS: (
        Stage("canary", percent=1, bake_s=600),
        Stage("a tenth", percent=10, bake_s=600),
        Stage(by_region=True, bake_s=600),
    ),
}


@dataclass(frozen=True, slots=True)
class Wave:
    """What goes together: of the machines that ``selector`` matches a share, or so many, or all."""

    name: str
    selector: Selector
    percent: int | None
    count: int | None
    """``percent`` and ``count`` both ``None``: all, those that join later included."""
    bake_s: int
    reason: str
    """Why there is such a wave, and why it is where it is."""
    machines: Mapping[RegionName, int] = field(default_factory=dict)
    """That it lets in, by the inventory at the time of planning."""
    approvals: int = 0
    """People who have to approve before it is let in."""
    checks: tuple[Check, ...] = ()
    """What is asked outside while it bakes."""

    @property
    def everyone(self) -> bool:
        return self.percent is None and self.count is None

    def size(self, matching: int) -> int:
        """How many of ``matching`` machines belong to it, earlier waves' included; at least one."""
        if self.count is not None:
            return max(1, min(self.count, matching))
        return matching if self.percent is None else max(1, -(-matching * self.percent // 100))


@dataclass(frozen=True, slots=True)
class Plan:
    """The waves of one deployment, which leave nothing to choose. The last one lets everybody in."""

    policy: str
    waves: tuple[Wave, ...]
    failed_percent: int
    unreachable_percent: int

    def title(self, number: int) -> str:
        """Of the wave at this index, for people."""
        return f"wave {number + 1} of {len(self.waves)} ({self.waves[number].name})"


@dataclass(frozen=True, slots=True)
class PlannedWave:
    """A wave as it is shown before anything happens. Times in seconds from the moment the release is deployable."""

    wave: Wave
    starts_s: float
    passes_s: float
    """When it will be over, its bake included, if machines take as long as they usually do."""


@dataclass(frozen=True, slots=True)
class WavePicture:
    """A wave of a deployment, for people to look at."""

    name: str
    state: str
    """``passed``, ``under way`` or ``to come``; of an ended deployment what it was then."""
    machines: int
    """That it lets in, by the inventory at the time of planning."""
    bake_s: int
    reason: str
