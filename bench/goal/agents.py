"""Agents as far as goals go: each holds a long poll at its region, and notes when it has which goal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from fleetcast.http.session import Session
from fleetcast.model.generation import Generation
from fleetcast.model.ids import ServiceName, machine_id, region_name
from fleetcast.model.limits import GOAL_WAIT_S_MAX, HTTP_TIMEOUT_S
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import GoalsReply, GoalsRequest

GROUP: Final = "group"
"""The label by which goals select."""


class Agent:
    """One machine's; from one event loop."""

    def __init__(self, number: int, region: str, session: Session) -> None:
        self._machine = Machine(machine_id(f"machine-{number}"), region_name(region), labels={GROUP: str(number)})
        self._session = session
        self.known: dict[ServiceName, tuple[Generation, float]] = {}
        """The generation of each goal, and since when (monotonic)."""
        self._moved = asyncio.Event()

    async def follow(self) -> None:
        """Until cancelled."""
        etag = ""
        while True:
            request = GoalsRequest(self._machine, etag, GOAL_WAIT_S_MAX, "bench")
            timeout_s = GOAL_WAIT_S_MAX + HTTP_TIMEOUT_S
            reply = await self._session.ask("POST", "/v1/goals", request, reply=GoalsReply, timeout_s=timeout_s)
            now = time.monotonic()
            for goal in reply.goals or ():
                known = self.known.get(goal.service)
                if known is None or known[0] < goal.generation:
                    self.known[goal.service] = (goal.generation, now)
            etag = reply.etag
            self._moved.set()

    async def until(self, wanted: Mapping[ServiceName, Generation]) -> None:
        """It knows goals of these generations, or higher ones."""
        while any(service not in self.known or self.known[service][0] < least for service, least in wanted.items()):
            self._moved.clear()
            await self._moved.wait()
