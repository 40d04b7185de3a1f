"""The agent as a whole: follows its region's goals and hands each to the driver of its service."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence, Set
from random import Random

import structlog

from fleetcast.agent import moving
from fleetcast.agent.clock import RegionClock
from fleetcast.agent.config import AgentConfig
from fleetcast.agent.goals import GoalBook
from fleetcast.agent.labels import LabelBook
from fleetcast.agent.layout import MachineLayout, ServiceKey
from fleetcast.agent.region import RegionClient
from fleetcast.agent.reporting import Reporter
from fleetcast.agent.retrying import retry_s
from fleetcast.agent.room_desk import RoomDesk
from fleetcast.agent.service import ServiceDriver, Surroundings
from fleetcast.agent.sharing import Sharing
from fleetcast.agent.standing import Clock
from fleetcast.agent.supervisor import FoundUnits, chosen
from fleetcast.artifacts.signing import PublicKey
from fleetcast.model.errors import FleetcastError, Unavailable
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import POLLS_FULL, GoalsReply, GoalsRequest
from fleetcast.model.report import ServiceReport
from fleetcast.stores import boots
from fleetcast.swarm.peer import SwarmPeer

log = structlog.get_logger(__name__)


class AgentLoop:
    """One machine."""

    def __init__(
        self, config: AgentConfig, region: RegionClient, swarm: SwarmPeer, keys: Sequence[PublicKey], clock: RegionClock
    ) -> None:
        self._config = config
        self._layout = MachineLayout(config.root)
        self._region = region
        self._swarm = swarm
        self._rng = Random()
        self._book = GoalBook(self._layout.goals)
        self._labels = LabelBook(self._layout.labels, config.machine)
        self._instance = uuid.uuid4().hex
        self._clock = clock
        self._reporter = Reporter(self._machine, region, self._reports, swarm.alarms, self._rng, self._instance)
        sharing = Sharing(swarm)
        told = (self._changed, clock.now_ms, self._reporter.alarm)
        room = RoomDesk(config.root, config.disk_free_percent)
        supervisor = chosen(config.supervisor, config.stop_grace_s)
        shared = (region, sharing, room, supervisor, keys)
        self._around = Surroundings(config, self._machine, *shared, self._rng, *told)
        self._drivers: dict[ServiceKey, ServiceDriver] = {}
        self._leaving: Set[ServiceKey] = frozenset()

    async def run(self, ready: Callable[[], None]) -> None:
        """Until cancelled; ``ready`` is called once what is on this machine has been found again."""
        units = FoundUnits()
        for key in self._layout.services():
            await self._add(key)
        self._pursue()
        async with asyncio.TaskGroup() as group:
            for driver in self._drivers.values():
                group.create_task(driver.run(units))
            group.create_task(self._reporter.run())
            ready()
            await self._follow(group)

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Goals from the region, each as soon as it is there. Without a region the last ones stay in force (law 6)."""
        etag, failures = "", 0
        while True:
            try:
                request = GoalsRequest(self._machine(), etag, self._config.goal_wait_s, self._instance)
                etag = await self._take(await self._region.goals(request), group)
                failures = 0
            except (FleetcastError, OSError) as error:
                if isinstance(error, Unavailable) and error.code == POLLS_FULL:
                    await asyncio.sleep(self._reporter.interval_s * self._rng.uniform(0.9, 1.1))
                    continue
                failures += 1
                log.warning("goals_not_followed", error=str(error))
                if not isinstance(error, Unavailable):
                    self._reporter.alarm(f"it cannot follow its goals: {error}")
                await asyncio.sleep(retry_s(failures, self._rng))

    async def _take(self, reply: GoalsReply, group: asyncio.TaskGroup) -> str:
        self._reporter.interval_s = reply.report_interval_s
        self._reporter.progress_interval_s = reply.progress_interval_s or reply.report_interval_s
        if (wrong := self._clock.heard(reply.now_ms)) is not None:
            self._reporter.alarm(wrong)
        await asyncio.to_thread(self._swarm.trust, reply.ticket_key)
        if reply.labels is not None and await self._labels.take(reply.labels):
            # These goals were chosen for the labels before. The next question names the new ones, and is answered at once.
            self._relabelled()
            return ""
        if reply.goals is not None:
            machine = self._machine()
            judged = await self._book.take(goal for goal in reply.goals if goal.selects(machine))
            for line in judged.alarms:
                self._reporter.alarm(line)
            units = FoundUnits()
            for key in self._concerned() - self._drivers.keys():
                await self._add(key)
                group.create_task(self._drivers[key].run(units))
            self._pursue()
        return reply.etag

    def _machine(self) -> Machine:
        return self._labels.machine

    def _relabelled(self) -> None:
        if self._labels.alarm:
            self._reporter.alarm(self._labels.alarm)
        for driver in self._drivers.values():
            driver.look()
        self._reporter.changed()

    def _concerned(self) -> set[ServiceKey]:
        """Services with a goal; a tombstone says nothing to a machine that never had the service."""
        goals = self._book.goals()
        return {key for key, goal in goals.items() if not goal.removed or self._layout.service(key).base.exists()}

    async def _add(self, key: ServiceKey) -> None:
        driver = ServiceDriver(key, self._layout.service(key), self._around)
        await driver.find_again()
        self._drivers[key] = driver

    def _pursue(self) -> None:
        goals = self._book.goals()
        here = {key for key, driver in self._drivers.items() if not driver.gone}
        self._leaving = moving.left(goals, here)
        going = moving.pursued(goals, here)
        for key, driver in self._drivers.items():
            driver.pursue(going.get(key))
        self._reporter.changed()

    def _changed(self) -> None:
        """A service has changed; where one of them is leaving, another may wait for that."""
        if self._leaving:
            self._pursue()
        self._reporter.changed()

    def _reports(self) -> tuple[ServiceReport, ...]:
        clock = Clock(boots.boot(), boots.uptime_ms())
        reports = (driver.report(clock) for key, driver in self._drivers.items() if key not in self._leaving)
        return tuple(report for report in reports if report is not None)
