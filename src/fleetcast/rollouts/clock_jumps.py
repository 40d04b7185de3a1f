"""When the database's clock jumps, unfinished deployments count from now: none is too late for hours that never were, and none
gets years. A claim that would live for longer than any is nobody's.

Stamping twice does no harm, so every control process may do it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy import case, or_, select, update

from fleetcast.model.clocks import ClockWatch
from fleetcast.model.limits import CLOCK_JUMP_S_MIN
from fleetcast.rollouts.deployments import UNFINISHED
from fleetcast.schema.rollout_tables import rollouts
from fleetcast.schema.tables import deployments
from fleetcast.stores.database import Database, now_ms, read_clock_ms

log = structlog.get_logger(__name__)

_STAMPS: Final = (rollouts.c.wave_at, rollouts.c.healthy_at, rollouts.c.paused_at, rollouts.c.held_at)


class DeploymentClock:
    """To be asked before deployments are judged by their stamps. ``steady``: seconds that never jump."""

    def __init__(self, database: Database, lease_ms: int, steady: Callable[[], float]) -> None:
        self._database = database
        self._lease_ms = lease_ms
        self._steady = steady
        self._watch = ClockWatch()

    async def set_right(self) -> None:
        """After a jump stamp every unfinished deployment anew, and in any case those whose stamps lie in the future."""
        soon = now_ms() + CLOCK_JUMP_S_MIN * 1000
        unfinished = deployments.c.state.in_(UNFINISHED)
        claimed_ahead = deployments.c.claim_expires_at > soon + self._lease_ms
        ahead = or_(
            deployments.c.built_at > soon,
            deployments.c.goal_at > soon,
            claimed_ahead,
            select(rollouts.c.deployment)
            .where(
                rollouts.c.deployment == deployments.c.id,
                or_(*(column > soon for column in _STAMPS)),
            )
            .exists(),
        )
        async with self._database.reading() as reading:
            jumped_ms = self._watch.jumped_ms(await read_clock_ms(reading), self._steady())
            some = select(deployments.c.id).where(unfinished, ahead).limit(1)
            if not jumped_ms and (await reading.execute(some)).first() is None:
                return
        which = update(deployments).where(unfinished) if jumped_ms else update(deployments).where(unfinished, ahead)
        stamped = which.values(
            built_at=case((deployments.c.built_at.is_not(None), now_ms())),
            goal_at=case((deployments.c.goal_at.is_not(None), now_ms())),
            claim_expires_at=case((claimed_ahead, now_ms() - 1), else_=deployments.c.claim_expires_at),
        )
        waves = update(rollouts).where(rollouts.c.deployment.in_(select(deployments.c.id).where(unfinished)))
        async with self._database.transaction() as tx:
            await tx.execute(stamped)
            for column in _STAMPS:
                wrong = column.is_not(None) if jumped_ms else column > soon
                await tx.execute(waves.where(wrong).values({column: now_ms()}))
        log.warning("clock_jumped", seconds=round(jumped_ms / 1000), what="unfinished deployments count from now")
