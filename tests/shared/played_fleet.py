"""Machines that a test invents: each decides by the goal of its region as an agent does, its region sums up as regions do.

What a machine does takes a turn: it hears of a goal in one, and is through with it in the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from fleetcast.model.deployment import ByteCounts
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import DeploymentId, MachineId, RegionName
from fleetcast.model.machine import Machine
from fleetcast.model.messages.regions import RegionHello, RegionReport
from fleetcast.model.region_rollback import RegionRollback, StandingRollback
from fleetcast.model.report import Phase, ServiceReport
from fleetcast.region.breaking_glass import gone_back
from fleetcast.region.rollup import Told, roll_up
from fleetcast.rollouts.intake import record_hello, record_report
from fleetcast.rollouts.region_rollbacks import over
from paper_company import Company

LIFETIME_MS = 24 * 3600 * 1000

Sick = Callable[[MachineId, ReleaseRef], bool]
"""Whether a release fails its health check on a machine."""


@dataclass
class Played:
    machine: Machine
    running: ReleaseRef | None = None
    report: ServiceReport | None = None
    """The last one that its region heard."""
    silent: bool = False
    ever: list[str] = field(default_factory=list)
    """Letters of the commits that ran here, in order."""
    failed: set[DeploymentId] = field(default_factory=set)
    again: Generation | None = None
    """Of the last goal by which it forgot that it failed."""
    changing: bool = False
    down: bool = False
    """What was ACTIVE has died, and is not up again."""
    deaths: int = 0

    @property
    def runs(self) -> str:
        """The letter of the commit that runs; ``-``: nothing does."""
        return "-" if self.running is None else _letter(self.running)


@dataclass
class Fleet:
    """The machines of a :class:`Company`, by id."""

    company: Company
    machines: dict[MachineId, Played] = field(default_factory=dict)
    away: set[RegionName] = field(default_factory=set)
    """Regions whose process says nothing to control."""
    old: set[RegionName] = field(default_factory=set)
    """Regions whose process is of a version that does not count by waves."""
    gathering: set[RegionName] = field(default_factory=set)
    """Regions whose process has just started."""
    late: set[MachineId] = field(default_factory=set)
    """Machines that are well, and have not reported to it yet."""
    sick: Sick = lambda _machine, _release: False
    gone_back: dict[RegionName, tuple[RegionRollback, Goal]] = field(default_factory=dict)
    """Past control, by region, each with the region's own goal: those that stand."""

    async def join(self, counts: Mapping[str, int], *, zones: int = 1) -> None:
        """So many machines a region, ``eu-1`` and so on; they are known to control from then on."""
        for region, count in counts.items():
            await record_hello(self.company.database, RegionHello(RegionName(region), f"http://{region}", "00"))
            first = len(self.of(RegionName(region))) + 1
            for number in range(first, first + count):
                machine = Machine(MachineId(f"{region}-{number}"), RegionName(region), zone=f"z{number % zones}")
                self.machines[machine.id] = Played(machine)
        await self.report()

    def of(self, region: RegionName) -> list[Played]:
        return [played for played in self.machines.values() if played.machine.region == region]

    def running(self, letter: str) -> Played:
        """The first machine that runs this commit."""
        return next(played for played in self.machines.values() if played.runs == letter)

    @property
    def regions(self) -> list[RegionName]:
        return sorted({played.machine.region for played in self.machines.values()})

    async def turn(self) -> Goal | None:
        """Every machine that can does what the goal asks of it, and every region that can says so."""
        goal = await self.company.goal()
        if goal is not None:
            for played in self.machines.values():
                if not played.silent:
                    self._act(played, self._goal_in(played.machine.region, goal))
        await self.report(goal)
        return goal

    async def go_back(self, region: RegionName, to: ReleaseRef, by: str) -> None:
        """Somebody takes the region back past control, which is away."""
        goal = await self.company.goal()
        assert goal is not None
        name = DeploymentId(f"in-{region}")
        own = gone_back(goal, to, name, round(time.time() * 1000), LIFETIME_MS)
        rollback = RegionRollback(region, goal.service, goal.environment, name, goal.deployment, goal.target, to, 0, by)
        self.gone_back[region] = rollback, own

    def _goal_in(self, region: RegionName, goal: Goal) -> Goal:
        return self.gone_back[region][1] if region in self.gone_back else goal

    async def report(self, goal: Goal | None = None) -> None:
        for region in self.regions:
            if region in self.away:
                continue
            played = [one for one in self.of(region) if one.machine.id not in self.late]
            told = [Told(one.machine, None if one.silent else one.report, 0, one.silent) for one in played]
            rollups = () if goal is None else (roll_up(self._goal_in(region, goal), told, gathering=region in self.gathering),)
            if region in self.old:
                rollups = tuple(replace(rollup, cohort=None) for rollup in rollups)
            heard = tuple(one.machine for one in played if not one.silent)
            made = [self.gone_back[region]] if region in self.gone_back else []
            stands = tuple(StandingRollback(rollback, own.generation, 0) for rollback, own in made)
            await record_report(self.company.database, RegionReport(region, heard, rollups, (), rollbacks=stands))
            async with self.company.database.reading() as reading:
                if await over(reading, stands):
                    del self.gone_back[region]

    def runs(self, machines: Iterable[Played] | None = None) -> dict[str, int]:
        """How many machines run what."""
        counts: dict[str, int] = {}
        for played in machines if machines is not None else self.machines.values():
            counts[played.runs] = counts.get(played.runs, 0) + 1
        return dict(sorted(counts.items()))

    def _act(self, played: Played, goal: Goal) -> None:
        if goal.again is not None and goal.again != played.again:
            played.failed, played.again = set(), goal.again
        wanted = goal.release_for(played.machine, played.running)
        changing, played.changing = played.changing, False
        if wanted is not None and wanted != played.running and goal.deployment not in played.failed:
            if not changing:
                played.changing = True
            elif self.sick(played.machine.id, wanted):
                played.failed.add(goal.deployment)
                played.ever.append(_letter(wanted))
            else:
                played.running, played.deaths = wanted, 0
                played.ever.append(_letter(wanted))
        phase = Phase.ACTIVATING if played.changing else Phase.FETCHED
        if goal.deployment in played.failed:
            phase = Phase.FAILED
        elif played.running == goal.target:
            phase = Phase.ACTIVE
        played.report = ServiceReport(
            service=goal.service,
            environment=goal.environment,
            generation=goal.generation,
            deployment=goal.deployment,
            target=goal.target,
            phase=phase,
            running=None if played.changing or played.down else played.running,
            bytes=ByteCounts(local=1000),
            target_bytes=1000,
            active_age_ms=0,
            waiting_for="its wave" if phase is Phase.FETCHED else "",
            error="health check failed" if phase is Phase.FAILED else "",
            deaths=played.deaths,
        )


def _letter(release: ReleaseRef) -> str:
    return release.artifact.partition("/")[2][0]
