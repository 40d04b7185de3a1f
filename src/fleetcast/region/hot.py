"""The routes that every machine calls all the time, over bare ASGI; everything else goes on to the Litestar application."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from fleetcast.http import messages, raw
from fleetcast.http.tokens import Role, TokenSet
from fleetcast.model.errors import Refused
from fleetcast.model.messages.agents import GoalsRequest, MachineReport, MachineReportAccepted
from fleetcast.region.machines import MachineBook
from fleetcast.region.polls import GoalPolls

_AGENTS: Final = frozenset({Role.AGENT})
_ACCEPTED: Final = msgspec.Raw(messages.encode(MachineReportAccepted()))


class HotRoutes:
    """``POST /v1/goals`` and ``POST /v1/reports`` in front of ``others``."""

    def __init__(
        self, others: ASGIApp, tokens: TokenSet, polls: GoalPolls, machines: MachineBook, alarm: Callable[[str], None]
    ) -> None:
        """``alarm``: for what a person should know of an agent that is not let in, which has nobody else to tell it."""
        self._others = others
        self._tokens = tokens
        self._polls = polls
        self._machines = machines
        self._alarm = alarm
        self._routes = {"/v1/goals": self._goals, "/v1/reports": self._report}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"])
        if route is None or scope.get("method") != "POST":
            await self._others(scope, receive, send)
            return
        try:
            self._tokens.authorize(raw.authorization(scope), _AGENTS)
            answer = await route(await raw.read_body(receive), receive)
        except Exception as error:  # the edge: whatever it is, the caller gets a problem and the log the rest
            await raw.answer_error(send, error)
        else:
            await raw.answer(send, answer)

    async def _goals(self, body: bytes, receive: Receive) -> msgspec.Raw:
        try:
            request = messages.decode(body, GoalsRequest, messages.CALLER, messages.SERVER)
            await self._polls.admit(request.machine.id)
            self._machines.claim(request.machine, time.monotonic(), request.instance)
        except Refused as error:
            self._alarm(f"an agent was not let in: {error.message}")
            raise
        return msgspec.Raw(await self._polls.poll(request, receive))

    async def _report(self, body: bytes, _receive: Receive) -> msgspec.Raw:
        self._machines.heard(messages.decode(body, MachineReport, messages.CALLER, messages.SERVER), time.monotonic())
        return _ACCEPTED
