"""Going on asking a service whether it is well, after it has come up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from fleetcast.agent.gate import Instance
from fleetcast.agent.probing import HealthCheck, attempt
from fleetcast.agent.wellness import Standing, Wellness, after, well
from fleetcast.model.limits import AGENT_TICK_S, PROBE_WATCH_INTERVAL_S
from fleetcast.stores import boots

log = structlog.get_logger(__name__)


class HealthWatch:
    """Of one service. What an agent that ended had found is found again by the next one: until then all is well."""

    def __init__(
        self, check: Callable[[], HealthCheck | None], instance: Callable[[], Instance | None], changed: Callable[[], None]
    ) -> None:
        """``check``: of what is in service and to be watched, ``None``: nothing; ``instance``: its process.

        ``changed`` is called when the service stands differently.
        """
        self._check = check
        self._instance = instance
        self._changed = changed
        self._now = well(boots.uptime_ms())
        self._activation: str | None = None
        """Of whose process ``_now`` is."""
        self._restarted = asyncio.Event()

    @property
    def standing(self) -> Standing:
        watched = self._check() is not None and self._activation == self._activated()
        return self._now.standing if watched else Standing.WELL

    @property
    def error(self) -> str:
        """What is wrong, for people; empty: nothing."""
        match self.standing:
            case Standing.WELL:
                return ""
            case Standing.RISING:
                return "it was started again, and is not healthy yet" + (f": {self._now.wrong}" if self._now.wrong else "")
            case Standing.SICK:
                return f"it is not healthy any more, and will be started again: {self._now.wrong}"

    @property
    def well_ms(self) -> int:
        """How long it had been well."""
        return self._now.well_until_ms - self._now.well_since_ms

    def restarted(self) -> None:
        """Its process has just been started anew: it has to come up again."""
        self._now, self._activation = Wellness(Standing.RISING), self._activated()
        self._restarted.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._restarted.clear()
            pause_s = await self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._restarted.wait()

    def _activated(self) -> str:
        instance = self._instance()
        return instance.activation if instance else ""

    async def _look(self) -> float:
        """Ask once, if there is something to ask. Returns for how many seconds nothing need be asked."""
        check, instance = self._check(), self._instance()
        if check is None:
            return float(AGENT_TICK_S)
        if self._activation != self._activated():
            # Another release came up, and its health check said so.
            self._now, self._activation = well(boots.uptime_ms()), self._activated()
        since_ms = instance.started_ms if instance else boots.uptime_ms()
        rising = self._now.standing is Standing.RISING
        if rising and (early_ms := since_ms + round(check.grace_s * 1000) - boots.uptime_ms()) > 0:
            return early_ms / 1000
        before = self._now
        wrong = (await attempt(check, instance.id if instance else "")).wrong
        if before is self._now and self._check() is not None:
            deadline_ms = since_ms + round((check.grace_s + check.timeout_s) * 1000)
            self._now = after(before, wrong, boots.uptime_ms(), threshold=check.threshold, deadline_ms=deadline_ms)
            if self._now.standing is not before.standing:
                log.warning("health_turned", standing=self._now.standing, wrong=wrong)
                self._changed()
        if self._now.standing is Standing.RISING:
            return check.interval_s
        given_s = check.probe.interval_s if check.probe is not None else 0.0
        return given_s or PROBE_WATCH_INTERVAL_S
