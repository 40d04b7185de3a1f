"""The loop that asks outside checks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fleetcast.control.checks.asking import asked
from fleetcast.control.loops import regularly
from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import CHECK_TURN_INTERVAL_S, CHECKS_AT_ONCE_MAX
from fleetcast.rollouts.check_asks import Ask, answered, claim_asks
from fleetcast.stores.database import Database

log = structlog.get_logger(__name__)


class Checking:
    """Safe to run in several control processes. ``on_answer`` is called when there is something new to decide by."""

    def __init__(self, database: Database, on_answer: Callable[[], None], *, allow_commands: bool) -> None:
        self._database = database
        self._on_answer = on_answer
        self._allow_commands = allow_commands
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event, interval_s: float = CHECK_TURN_INTERVAL_S) -> None:
        """Ask until ``stop``; what is under way is given up then, and asked by somebody else when its lease ends."""
        try:
            await regularly("checks", self.turn, interval_s, stop)
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def turn(self) -> None:
        """Begin to ask as many as are due and there is room for."""
        for task in [task for task in self._under_way if task.done()]:
            self._under_way.discard(task)
            task.result()  # a defect ends the process, as one in any other loop does
        room = CHECKS_AT_ONCE_MAX - len(self._under_way)
        if room > 0:
            self._under_way |= {asyncio.create_task(self._ask(ask)) for ask in await claim_asks(self._database, room)}

    async def settle(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._under_way)

    async def _ask(self, ask: Ask) -> None:
        answer = await asked(ask, allow_commands=self._allow_commands)
        try:
            if await answered(self._database, ask, answer):
                log.info(
                    "check_asked", deployment=ask.deployment, check=ask.check.title, outcome=answer.outcome, said=answer.figures
                )
                self._on_answer()
        except (FleetcastError, SQLAlchemyError) as error:
            # The database is away: the lease ends, and the check is asked again.
            log.warning("answer_lost", deployment=ask.deployment, check=ask.check.title, error=str(error))
