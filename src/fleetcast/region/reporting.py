"""The loop that tells control what this region knows: everything, each time, so that no report matters by itself.

Reports go out at the interval; for as long as the one before had news of a deployment or a copy, at the pace of progress.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from itertools import chain, islice
from typing import Protocol

import structlog

from fleetcast.model.clocks import clock_alarm
from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import ALARMS_MAX, MACHINE_QUESTIONS_MAX
from fleetcast.model.messages.regions import MachineAnswered, RegionHello, RegionReport, ReportAccepted
from fleetcast.model.replication import CopyDemand
from fleetcast.region.alarms import Alarms
from fleetcast.region.copying import Copying
from fleetcast.region.machines import MachineBook
from fleetcast.region.pace import progress_interval_s, standing
from fleetcast.region.permits import PermitBook
from fleetcast.region.rollbacks import RegionRollbacks
from fleetcast.region.rollup import roll_up
from fleetcast.region.view import RegionView

log = structlog.get_logger(__name__)


class ReportDoor(Protocol):
    """As :class:`fleetcast.client.regions.Regions`."""

    async def hello(self, hello: RegionHello) -> ReportAccepted: ...

    async def report(self, report: RegionReport) -> ReportAccepted: ...

    async def answer(self, answered: MachineAnswered) -> ReportAccepted: ...


class Reporting:
    """Says hello before the first report and after every failed one: control may be another, or have forgotten us."""

    def __init__(
        self,
        control: ReportDoor,
        hello: RegionHello,
        view: RegionView,
        machines: MachineBook,
        permits: PermitBook,
        copying: Copying,
        alarms: Alarms,
        interval_s: float,
        rollbacks: RegionRollbacks,
        on_over: Callable[[], None],
    ) -> None:
        """``on_over`` is called when control's goals may be taken again where somebody had gone back at this region."""
        self._control = control
        self._hello = hello
        self._view = view
        self._machines = machines
        self._permits = permits
        self._copying = copying
        self._alarms = alarms
        self._interval_s = interval_s
        self._rollbacks = rollbacks
        self._on_over = on_over
        self._greeted = False
        self._failing = ""
        """Why the last report was not taken."""
        self._told: object = None
        self._followed: tuple[CopyDemand, ...] = ()
        self._moving = False
        self._wake = asyncio.Event()
        view.on_goals.append(self._wake.set)
        view.on_records.append(self._wake.set)

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._tell()
            except FleetcastError as error:
                if error.message != self._failing:
                    log.warning("report_failed", error=error.message)
                self._failing, self._greeted = error.message, False
            else:
                if self._failing:
                    log.info("reports_go_on")
                self._failing = ""
            await self._pause()

    async def _pause(self) -> None:
        """A new goal or artifact is the beginning of news, and cuts a long pause short."""
        live_s = progress_interval_s(self._machines.count, self._interval_s)
        await asyncio.sleep(live_s)
        if self._moving or self._wake.is_set():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._interval_s - live_s):
                await self._wake.wait()

    async def _tell(self) -> None:
        if not self._greeted:
            await self._control.hello(self._hello)
            self._greeted = True
        report = await self._report()
        accepted = await self._control.report(report)
        self._follow(accepted.demands)
        self._permits.forget(self._machines.retired(accepted.retired, time.monotonic()))
        if accepted.rollbacks_over and await self._rollbacks.let_go(accepted.rollbacks_over):
            self._on_over()
        before, self._told = self._told, standing(report.rollups, report.copies)
        self._moving = before != self._told
        if (wrong := clock_alarm(f"the clock of region {self._hello.region}", time.time() * 1000, accepted.now_ms)) is not None:
            self._alarms.raise_alarm(wrong, time.monotonic())
        for machine in accepted.wanted[:MACHINE_QUESTIONS_MAX]:
            answer = self._machines.answer(machine, time.monotonic())
            await self._control.answer(MachineAnswered(self._hello.region, answer))

    def _follow(self, demands: tuple[CopyDemand, ...]) -> None:
        """Following one again does no harm: control repeats them until it has heard that they were."""
        for demand in demands:
            log.info("copy_demanded", digest=demand.digest)
            self._copying.demanded(demand.digest)
        self._followed = demands
        if demands:
            self._wake.set()

    async def _report(self) -> RegionReport:
        now = time.monotonic()
        self._machines.listen(now)
        self._machines.forget_silent(now)
        gathering = self._machines.gathering(now)
        rollups = []
        for held in self._view.goals:
            if held.goal.removed:
                continue  # its deployment has ended: nobody waits for the sum
            rollups.append(roll_up(held.goal, self._machines.told(held.goal, now), gathering=gathering))
            await asyncio.sleep(0)  # each goal costs milliseconds where machines are many: let agents in between
        alarms = chain(self._alarms.current(now), self._machines.alarms(now))
        return RegionReport(
            region=self._hello.region,
            machines=self._machines.reporting(now),
            rollups=tuple(rollups),
            copies=self._copying.progress(),
            alarms=tuple(islice(alarms, ALARMS_MAX)),
            demands=self._followed,
            rollbacks=self._rollbacks.standing(),
        )
