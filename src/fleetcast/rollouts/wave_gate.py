"""Whether a wave may be followed by the next (pure): advance, hold, roll back or stop, with the figures that decide it.

What is counted are the machines that the waves so far have let in. One that is silent is unreachable, not failed, and has a
budget of its own; so has what has failed, in the whole and in each region. A region that has not reported by this wave's goal,
or not lately, is waited for, and so is whoever a region has not heard of that has only begun to listen: nothing is concluded
from what was not said. Only a sick release goes back by itself; a late one stops where it stands, since what keeps it (a dead
rack, a region that is away) would keep a rollback as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from fleetcast.model.ids import RegionName
from fleetcast.model.limits import PAUSE_S_MAX, REASON_NAMES_MAX
from fleetcast.model.plan import Plan
from fleetcast.model.report import CohortCounts, NamedFailure
from fleetcast.model.spans import span
from fleetcast.rollouts.budgets import figures, standings, too_many_sick, too_many_unreachable
from fleetcast.rollouts.reasons import and_more, named

_WELL: Final = "healthy"


class Verdict(StrEnum):
    HOLD = "HOLD"
    ADVANCE = "ADVANCE"
    """To the next wave; after the last one the deployment has succeeded."""
    ROLL_BACK = "ROLL_BACK"
    STOP = "STOP"
    """It has failed, and machines keep what they run."""


@dataclass(frozen=True, slots=True)
class RegionWave:
    """One region's part of a wave. Counts of machines."""

    region: RegionName
    expected: int
    """Inside, by the inventory."""
    told: CohortCounts | None
    """``None``: nothing lately, or nothing yet by the goal of this wave."""
    mute: int = 0
    """Those inside that said nothing already when the wave was let in."""
    failures: tuple[NamedFailure, ...] = ()
    waiting: tuple[NamedFailure, ...] = ()
    old: bool = False
    """It does report, and is of a version that does not count by waves."""

    @property
    def gathering(self) -> bool:
        return self.told is not None and self.told.gathering

    @property
    def unreachable(self) -> int:
        """Silent ones, and those that the region has not heard of, once it has listened for long enough to say so."""
        return 0 if self.told is None or self.gathering else self.told.silent + max(0, self.expected - self.told.inside)

    @property
    def total(self) -> int:
        return self.expected if self.told is None else max(self.expected, self.told.inside)

    @property
    def sick(self) -> int:
        return 0 if self.told is None else self.told.failed + self.told.flapping

    @property
    def healthy(self) -> int:
        return 0 if self.told is None else self.told.active

    @property
    def done(self) -> bool:
        """Whether nobody is on the way any more."""
        return self.told is not None and self.healthy + self.sick + self.unreachable >= self.total


@dataclass(frozen=True, slots=True)
class WaveFacts:
    """The wave that was let in last. Times in UTC milliseconds by the database's clock."""

    plan: Plan
    number: int
    """Its index in the plan."""
    wave_at_ms: int
    """When it was let in."""
    healthy_at_ms: int | None
    """Since when everybody has been healthy, at every look; ``None``: not at the last one."""
    promoted: bool
    """Somebody has said not to wait for its bake."""
    paused_at_ms: int | None
    fleet: int
    """Machines that the deployment means, in waves to come too."""
    regions: tuple[RegionWave, ...]
    """Those with machines inside, drained ones left out."""

    @property
    def last(self) -> bool:
        return self.number == len(self.plan.waves) - 1


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    reason: str
    healthy_at_ms: int | None = None
    """To be remembered for the next look."""


def judge(wave: WaveFacts, wave_s_max: float, now_ms: int) -> Judgement:
    """``wave_s_max``: how long machines may take to become healthy, the bake apart."""
    title = wave.plan.title(wave.number)
    total = sum(region.total for region in wave.regions)
    if (sick := too_many_sick(wave.regions, wave.plan.failed_percent)) is not None:
        return Judgement(Verdict.ROLL_BACK, f"{title}: {sick}")
    bake_s = wave.plan.waves[wave.number].bake_s if total and not wave.promoted else 0
    obstacle = _obstacle(wave, total)
    since = now_ms if wave.healthy_at_ms is None else min(now_ms, wave.healthy_at_ms)
    healthy_at_ms = None if obstacle else since
    baked_at_ms = None if healthy_at_ms is None else healthy_at_ms + bake_s * 1000
    if wave.paused_at_ms is not None and now_ms - wave.paused_at_ms > PAUSE_S_MAX * 1000:
        return Judgement(Verdict.STOP, f"{title}: paused for {span(PAUSE_S_MAX)}, and nobody resumed it")
    if baked_at_ms is not None and baked_at_ms <= now_ms:
        baked = f", baked {span(bake_s)}" if bake_s else ""
        if wave.paused_at_ms is None or wave.last:
            return Judgement(Verdict.ADVANCE, f"{title} passed: {_figures(wave, total)}{baked}", healthy_at_ms)
        return Judgement(Verdict.HOLD, f"{title}: {_figures(wave, total)}{baked}; paused", healthy_at_ms)
    if wave.paused_at_ms is None and now_ms - wave.wave_at_ms > (wave_s_max + bake_s) * 1000:
        return Judgement(Verdict.STOP, f"{title}: {_late(wave, wave_s_max, bake_s)}")
    paused = "; paused" if wave.paused_at_ms is not None else ""
    if baked_at_ms is None:
        return Judgement(Verdict.HOLD, f"{title}: waiting for {obstacle}{paused}")
    until = datetime.fromtimestamp(baked_at_ms / 1000, UTC).strftime("%H:%M:%S")
    return Judgement(Verdict.HOLD, f"{title}: {_figures(wave, total)}; bakes until {until} UTC{paused}", healthy_at_ms)


def _figures(wave: WaveFacts, total: int) -> str:
    return figures(wave.regions, _WELL) if total else "no machine"


def _obstacle(wave: WaveFacts, total: int) -> str:
    """What keeps the wave from being healthy; empty: nothing."""
    if total == 0:
        return "a machine that the service selects" if wave.last else ""
    old = [region.region for region in wave.regions if region.told is None and region.old]
    if old:
        return f"{_some(old)} to count by waves: the region process there is of an older version, upgrade it"
    unheard = [region.region for region in wave.regions if region.told is None]
    if unheard:
        return f"a report of {_some(unheard)}"
    behind = [region for region in wave.regions if not region.done]
    if behind:
        return standings(behind, _WELL)
    if (missing := _unreachable(wave, total)) is not None:
        return missing
    return "" if any(region.healthy for region in wave.regions) else "a machine that is healthy"


def _some(regions: Sequence[RegionName]) -> str:
    return ", ".join(regions[:REASON_NAMES_MAX]) + and_more(len(regions) - REASON_NAMES_MAX)


def _unreachable(wave: WaveFacts, total: int) -> str | None:
    """Those that fell silent since the wave was let in are held against the wave, all of them against the whole fleet. Else one
    machine that has been off for a week could keep a canary from ever passing."""
    percent = wave.plan.unreachable_percent
    lost = sum(max(0, region.unreachable - region.mute) for region in wave.regions)
    everybody = max(wave.fleet, total)
    unreachable = sum(region.unreachable for region in wave.regions)
    return too_many_unreachable(lost, total, percent) or too_many_unreachable(unreachable, everybody, percent)


def _late(wave: WaveFacts, wave_s_max: float, bake_s: int) -> str:
    """Names who is missing: those that say what they wait for, those that failed."""
    missing = [region for region in wave.regions if region.healthy < region.total]
    entries = [entry for region in missing for entry in (*region.waiting, *region.failures)]
    count = sum(region.total - region.healthy for region in missing)
    within = f"not healthy within {span(wave_s_max)}" + (f" and {span(bake_s)} of bake" if bake_s else "")
    obstacle = _obstacle(wave, sum(region.total for region in wave.regions))
    if any(region.told is None for region in wave.regions):
        return f"{within}: it waited for {obstacle}"
    behind = standings(missing, _WELL) or obstacle or "it did not stay so"
    return f"{within}: {behind}" + (f": {named(entries, count)}" if entries else "")
