"""When the database's clock jumps, what was stamped before it says nothing any more about how old it is.

Live jobs then count from now: nobody is called silent, or too late, for hours that never were, and nobody gets years. Stamping
twice does no harm, so every control process may do it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog
from sqlalchemy import and_, case, or_, select, update
from sqlalchemy.sql import ColumnElement

from fleetcast.model.build import BuildStatus
from fleetcast.model.clocks import ClockWatch
from fleetcast.model.limits import BUILD_RETRY_S_MAX, CLOCK_JUMP_S_MIN
from fleetcast.schema.tables import jobs
from fleetcast.stores.database import Database, now_ms, read_clock_ms

log = structlog.get_logger(__name__)

_SOON: Final = now_ms() + CLOCK_JUMP_S_MIN * 1000
_LATE: Final = _SOON + BUILD_RETRY_S_MAX * 1000
_LIVE: Final = jobs.c.status.in_((BuildStatus.QUEUED, BuildStatus.RUNNING))
_AHEAD: Final = or_(
    jobs.c.queued_at > _SOON, jobs.c.claimed_at > _SOON, jobs.c.last_heartbeat > _SOON, jobs.c.not_before > _LATE
)


class JobClock:
    """To be asked before jobs are judged by their stamps. ``steady``: seconds that never jump."""

    def __init__(self, database: Database, steady: Callable[[], float]) -> None:
        self._database = database
        self._steady = steady
        self._watch = ClockWatch()

    async def set_right(self) -> None:
        """After a jump stamp every live job anew, and in any case those whose stamps lie in the future."""
        async with self._database.reading() as reading:
            jumped_ms = self._watch.jumped_ms(await read_clock_ms(reading), self._steady())
            ahead = (await reading.execute(select(jobs.c.id).where(_LIVE, _AHEAD).limit(1))).first()
        if jumped_ms or ahead is not None:
            await self._stamp(_LIVE if jumped_ms else and_(_LIVE, _AHEAD))
            log.warning("clock_jumped", seconds=round(jumped_ms / 1000), what="live builds count from now")

    async def begin(self) -> None:
        """A control process starts: whether its clock was set meanwhile nobody knows, and while there was none nobody could
        have been heard, or have claimed anything. A next attempt that was put off stays so: that is still to come."""
        await self._stamp(_LIVE, not_before=case((jobs.c.not_before <= _LATE, jobs.c.not_before), else_=None))

    async def _stamp(self, which: ColumnElement[bool], *, not_before: ColumnElement[Any] | None = None) -> None:
        running = jobs.c.status == BuildStatus.RUNNING
        async with self._database.transaction() as tx:
            # In the order of ids, as everybody locks them.
            found = await tx.execute(select(jobs.c.id).where(which).order_by(jobs.c.id).with_for_update())
            stamped = update(jobs).where(jobs.c.id.in_(found.scalars().all()), _LIVE)
            await tx.execute(
                stamped.values(
                    queued_at=now_ms(),
                    not_before=not_before,
                    claimed_at=case((running, now_ms()), else_=jobs.c.claimed_at),
                    last_heartbeat=case((running, now_ms()), else_=jobs.c.last_heartbeat),
                )
            )
