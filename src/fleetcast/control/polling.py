"""The loop that looks at the trunks of services whose servers cannot call in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from random import Random

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fleetcast.control.loops import regularly
from fleetcast.control.remote_heads import remote_heads
from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import POLL_TURN_INTERVAL_S, POLLS_AT_ONCE_MAX
from fleetcast.rollouts.pushes import Pushes
from fleetcast.rollouts.trunk_looks import Look, claim_looks, failed, seen
from fleetcast.stores.database import Database

log = structlog.get_logger(__name__)


class Polling:
    """Safe to run in several control processes. A repository that does not answer takes up one of ``at_once`` places."""

    def __init__(
        self,
        database: Database,
        pushes: Pushes,
        on_triggered: Callable[[], None],
        *,
        ask: Callable[[str, Iterable[str]], Awaitable[Mapping[str, str]]] = remote_heads,
        at_once: int = POLLS_AT_ONCE_MAX,
    ) -> None:
        self._database = database
        self._pushes = pushes
        self._on_triggered = on_triggered
        self._ask = ask
        self._at_once = at_once
        self._rng = Random()
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event, interval_s: float = POLL_TURN_INTERVAL_S) -> None:
        """Look until ``stop``; looks under way are given up then, and made by somebody else when their leases end."""
        try:
            await regularly("polling", self.turn, interval_s, stop)
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def turn(self) -> None:
        """Begin as many looks as are due and there is room for."""
        for task in [task for task in self._under_way if task.done()]:
            self._under_way.discard(task)
            task.result()  # a defect ends the process, as one in any other loop does
        room = self._at_once - len(self._under_way)
        if room <= 0:
            return
        by_repository: dict[str, list[Look]] = {}
        for look in await claim_looks(self._database, room):
            by_repository.setdefault(look.repository, []).append(look)
        self._under_way |= {asyncio.create_task(self._look(looks)) for looks in by_repository.values()}

    async def settle(self) -> None:
        """Wait for the looks under way."""
        await asyncio.gather(*self._under_way)

    async def _look(self, looks: Sequence[Look]) -> None:
        """All branches of one repository."""
        try:
            await self._take_in(looks)
        except (FleetcastError, SQLAlchemyError) as error:
            # The database is away: the leases end, and the looks are made again.
            log.warning("look_lost", repository=looks[0].repository, error=str(error))

    async def _take_in(self, looks: Sequence[Look]) -> None:
        try:
            heads = await self._ask(looks[0].repository, sorted({look.trunk for look in looks}))
        except FleetcastError as error:
            log.warning("look_failed", services=[look.service for look in looks], error=error.message)
            for look in looks:
                await failed(self._database, look, error.message, self._rng)
            return
        triggered = [await seen(self._database, self._pushes, look, heads.get(look.trunk), self._rng) for look in looks]
        if any(triggered):
            self._pushes.wake()
            self._on_triggered()
