"""Telling the region what this machine runs: at every change, and once an interval, which is shorter during a fetch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

import structlog

from fleetcast.agent.region import RegionClient
from fleetcast.agent.retrying import retry_s
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import AGENT_REPORT_INTERVAL_S, MACHINE_ALARM_S, MACHINE_ALARMS_MAX
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import MachineReport
from fleetcast.model.report import Phase, ServiceReport
from fleetcast.stores import boots

log = structlog.get_logger(__name__)

_GATHER_S: Final = 0.05
"""Changes come in groups: so long is waited for the rest of one."""


class Reporter:
    """:meth:`changed` and :meth:`alarm` may be called at any time from the event loop; :meth:`run` sends."""

    def __init__(
        self,
        machine: Callable[[], Machine],
        region: RegionClient,
        services: Callable[[], tuple[ServiceReport, ...]],
        swarm_alarms: Callable[[], tuple[str, ...]],
        rng: Random,
        instance: str,
    ) -> None:
        self._machine = machine
        self._region = region
        self._services = services
        self._swarm_alarms = swarm_alarms
        self._rng = rng
        self._instance = instance
        self._alarms: dict[str, int] = {}
        """Uptime in milliseconds at which each was last raised."""
        self._wake = asyncio.Event()
        self._sent: tuple[object, ...] | None = None
        self.interval_s = float(AGENT_REPORT_INTERVAL_S)
        """As the region wishes; and while something is fetched:"""
        self.progress_interval_s = float(AGENT_REPORT_INTERVAL_S)

    def changed(self) -> None:
        """Something may read differently now."""
        if self._gist() != self._sent:
            self._wake.set()

    def alarm(self, line: str) -> None:
        """Something a person should know; part of every report for ``MACHINE_ALARM_S`` from when it was last said."""
        if line not in self._alarms:
            self._wake.set()
        self._alarms[line] = boots.uptime_ms()

    def alarms(self) -> tuple[str, ...]:
        """At most ``MACHINE_ALARMS_MAX``, the newest, and what the swarm has to say."""
        since_ms = boots.uptime_ms() - MACHINE_ALARM_S * 1000
        fresh = {line: at_ms for line, at_ms in self._alarms.items() if at_ms >= since_ms}
        newest = sorted(fresh, key=lambda line: fresh[line])[-MACHINE_ALARMS_MAX:]
        self._alarms = {line: fresh[line] for line in newest}
        return (*newest, *self._swarm_alarms())

    async def run(self) -> None:
        """Until cancelled. A region that is away is tried again, and then told how things are then."""
        failures = 0
        while True:
            self._wake.clear()
            gist, services = self._gist(), self._services()
            try:
                await self._region.report(MachineReport(self._machine(), services, self.alarms(), self._instance))
                self._sent, failures = gist, 0
            except FleetcastError as error:
                failures += 1
                log.info("report_failed", error=error.message)
                await asyncio.sleep(retry_s(failures, self._rng))
                continue
            fetching = any(report.phase is Phase.FETCHING for report in services)
            interval_s = min(self.interval_s, self.progress_interval_s) if fetching else self.interval_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s * self._rng.uniform(0.8, 1.0)):
                    await self._wake.wait()
                    await asyncio.sleep(_GATHER_S)

    def _gist(self) -> tuple[object, ...]:
        """A report without what changes all the time."""
        services = (replace(report, active_age_ms=0, bytes=_gist_of(report)) for report in self._services())
        return (self._machine(), *services, *self.alarms())


def _gist_of(report: ServiceReport) -> ByteCounts:
    """Byte counts are news only when they are complete."""
    return report.bytes if report.bytes.total == report.target_bytes else ByteCounts()
