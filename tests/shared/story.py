"""Deployments of an invented fleet in virtual time, told as a text: whenever a reason or what machines run has changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import update

from fleetcast.control.checks.loop import Checking
from fleetcast.model.ids import DeploymentId, MachineId, RegionName
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.plan import Policy, Stage
from fleetcast.rollouts.deployments import Wanted, list_deployments
from fleetcast.rollouts.retiring import retire
from fleetcast.schema.region_tables import region_rollbacks
from fleetcast.schema.rollout_tables import outside_checks, rollouts
from fleetcast.schema.tables import deployments, goals, machines, regions, rollups
from paper_company import WEB, Company, sha
from played_fleet import Fleet

TURN_S = 20
EU, US = RegionName("eu"), RegionName("us")
WAVES = Policy(stages=(Stage("canary", count=3, bake_s=60), Stage(by_region=True, bake_s=40)))
_STAMPS = (
    deployments.c.created_at,
    deployments.c.built_at,
    deployments.c.replicated_at,
    deployments.c.goal_at,
    deployments.c.claim_expires_at,
    rollouts.c.wave_at,
    rollouts.c.healthy_at,
    rollouts.c.paused_at,
    rollouts.c.held_at,
    outside_checks.c.ask_at,
    outside_checks.c.answered_at,
    outside_checks.c.not_passed_since,
    rollups.c.reported_at,
    rollups.c.last_active_at,
    machines.c.last_seen_at,
    regions.c.last_report_at,
    goals.c.expires_at,
    region_rollbacks.c.made_at,
)


@dataclass
class Story:
    """A turn is 20 s: control decides, machines do what their goal says, regions report, and all stamps grow older."""

    company: Company
    now_s: int = 0
    dead: bool = False
    """Control is: nobody decides, and nobody hears what regions say."""
    lines: list[str] = field(default_factory=list)
    checking: Checking | None = None
    """Who asks outside checks; ``None``: nobody."""
    _told: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.company)

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    def say(self, text: str) -> None:
        self.lines.append(f"{self._clock} * {text}")

    async def settle(self, **counts: int) -> None:
        """So many machines a region run ``a``; nothing of that is told."""
        await self.fleet.join(counts, zones=2)
        await self.deploy("a")
        await self.until_ended()
        self.lines.clear()

    async def retire(self, machine: MachineId) -> None:
        """Somebody retires it; its region is told, and forgets it."""
        self.say(f"{machine} is retired")
        async with self.company.database.transaction() as tx:
            await retire(tx, machine)
        del self.fleet.machines[machine]

    async def deploy(
        self, commit: str, policy: Policy | None = None, *, built: bool = True, by: str = "", override_freeze: str = ""
    ) -> DeploymentId:
        """Somebody triggers it; by the next turn it is built, and in every bucket."""
        request = DeployRequest(WEB, sha(commit), plan=policy, override_freeze=override_freeze)
        deployment = (await self.company.triggers.deploy(request, by=by)).id
        self.say(f"{by + ': ' if by else ''}deploy {commit}: {deployment}" + (f" by {policy.name}" if policy else ""))
        if override_freeze:
            self.say(f"whatever is frozen: {override_freeze}")
        if built:
            await self.company.make(commit)
        return deployment

    async def go_on(self, turns: int) -> None:
        for _ in range(turns):
            await self._step()
            await self.fleet.turn()
            if self.checking is not None:
                await self.checking.turn()
                await self.checking.settle()
            await self._pass()
        await self._step()

    def control_dies(self) -> None:
        self.dead, self.fleet.away = True, set(self.fleet.regions)
        self.say("control is dead")

    def control_is_back(self) -> None:
        self.dead, self.fleet.away = False, set()
        self.say("control is back")

    async def _step(self) -> None:
        if not self.dead:
            await self.company.step()
        await self._tell()

    async def until_ended(self, turns_max: int = 40) -> None:
        """Until no deployment is under way; in the end, a turn in which machines see to it."""
        for _ in range(turns_max):
            async with self.company.database.reading() as reading:
                found = await list_deployments(reading, Wanted(), None, at_most=20)
            if all(deployment.state.ended for deployment in found):
                break
            await self.go_on(1)
        else:
            raise AssertionError(f"something does not end:\n{self.text}")

    @property
    def _clock(self) -> str:
        return f"{self.now_s // 60:3}:{self.now_s % 60:02}"

    async def _pass(self) -> None:
        self.now_s += TURN_S
        async with self.company.database.transaction() as tx:
            for table in {column.table for column in _STAMPS}:
                ours = {column: column - TURN_S * 1000 for column in _STAMPS if column.table is table}
                await tx.execute(update(table).values(ours))

    async def _tell(self) -> None:
        async with self.company.database.reading() as reading:
            found = await list_deployments(reading, Wanted(), None, at_most=20)
        for deployment in sorted(found, key=lambda one: int(one.id[1:])):
            reason = re.sub(r"\d\d:\d\d:\d\d UTC", "then", deployment.reason).replace(sha("a"), "a").replace(sha("b"), "b")
            self._line(deployment.id, f"{deployment.state}: {reason}")
        here = {region: self.fleet.runs(self.fleet.of(region)) for region in self.fleet.regions}
        runs = "; ".join(f"{region} " + " ".join(f"{n} {what}" for what, n in each.items()) for region, each in here.items())
        self._line("machines", runs)

    def _line(self, what: str, text: str) -> None:
        if self._told.get(what) != text:
            self._told[what] = text
            self.lines.append(f"{self._clock}   {what} {text}")


Golden = Callable[[Story], None]
