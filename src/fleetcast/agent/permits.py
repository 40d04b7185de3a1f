"""A permit from the region before a service that is up is taken down here (law 5)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from random import Random

import structlog

from fleetcast.agent.region import RegionClient
from fleetcast.agent.retrying import retry_s
from fleetcast.model.errors import FleetcastError
from fleetcast.model.permit import PermitRequest

log = structlog.get_logger(__name__)


class PermitDesk:
    """Permits of one service on this machine. :meth:`obtain` one, :meth:`keep` it while down, :meth:`give_back` when up."""

    def __init__(self, region: RegionClient, request: Callable[[], PermitRequest], rng: Random) -> None:
        """``request``: what to ask with at the moment of asking; its generation must be the newest."""
        self._region = region
        self._request = request
        self._rng = rng
        self._keeping: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self.waiting_for = ""
        """Why there is no permit yet, for people; empty while nobody waits."""

    async def obtain(self) -> None:
        """Return when the region has granted a permit. Without an answer the machine stays as it is (law 6)."""
        failures = 0
        self.waiting_for = "a permit"
        try:
            while True:
                try:
                    decision = await self._region.permit(self._request())
                except FleetcastError as error:
                    failures += 1
                    self.waiting_for = f"a permit: {error.message}"
                    await asyncio.sleep(retry_s(failures, self._rng))
                    continue
                if decision.granted:
                    return
                failures = 0
                self.waiting_for = f"a permit: {decision.reason}"
                await asyncio.sleep(decision.expires_in_s * self._rng.uniform(0.5, 1.0))
        finally:
            self.waiting_for = ""

    def keep(self) -> None:
        """The service is going down here: from now on the region is told so, and the permit renewed, in the background."""
        if self._keeping is None or self._keeping.done() or self._up.is_set():
            self._up = asyncio.Event()
            self._keeping = asyncio.create_task(self._keep(self._keeping, self._up))

    def give_back(self) -> None:
        """The service is up again, or given up. One attempt, in the background: a permit also ends by itself."""
        self._up.set()

    async def close(self) -> None:
        """End what goes on in the background; nothing is given back."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping

    async def _keep(self, before: asyncio.Task[None] | None, up: asyncio.Event) -> None:
        # One call after another, so that no renewal arrives after the permit was given back.
        if before is not None:
            await asyncio.wait({before})
        failures = 0
        while not up.is_set():
            try:
                decision = await self._region.permit(replace(self._request(), available=False))
                failures, wait_s = 0, decision.expires_in_s / 2
            except FleetcastError:
                failures += 1
                wait_s = retry_s(failures, self._rng)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await up.wait()
        try:
            await self._region.return_permit(self._request())
        except FleetcastError as error:
            log.info("permit_not_returned", reason=error.message)
