"""What becomes of regions that say nothing: nothing waits for them, and once they are back and have caught up they count again.

Every control process may do this. One that hears nothing of a region whose reports another one takes in reads them in SQL.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.ids import RegionName
from fleetcast.model.limits import REPLICATION_TURN_S_MAX
from fleetcast.replication.silence import LastWord, SilenceWatch, to_drain
from fleetcast.replication.status import ReplicationStatus
from fleetcast.rollouts import inventory
from fleetcast.stores.database import Database


class Silence:
    """Of all regions. ``on_change`` is called when one counts no more, or again."""

    def __init__(
        self,
        database: Database,
        status: ReplicationStatus,
        silence_s_max: float,
        look_interval_s: float,
        on_change: Callable[[], None],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``steady``: seconds that never jump."""
        self._database = database
        self._status = status
        self._silence_s_max = silence_s_max
        self._watch = SilenceWatch(silence_s_max, silence_s_max / 2 + 2 * look_interval_s + REPLICATION_TURN_S_MAX)
        self._on_change = on_change
        self._steady = steady

    async def turn(self) -> None:
        """Leave out who is silent, look into the buckets, and count again who has caught up."""
        async with self._database.reading() as reading:
            words, back = await _words(reading)
        silent = self._watch.silent(words, self._steady())
        gone = to_drain(words, silent)
        if gone or silent & back:
            async with self._database.transaction() as tx:
                for region in gone:
                    await inventory.drain_silent(tx, region, self._silence_s_max)
                for region in sorted(silent & back):
                    await inventory.still_silent(tx, region)
        lacking = await self._status.check()
        caught_up = [region for region, releases in lacking.items() if not releases and region not in silent]
        if caught_up:
            async with self._database.transaction() as tx:
                for region in caught_up:
                    await inventory.take_back(tx, region)
        if gone or caught_up:
            self._on_change()


async def _words(reading: AsyncConnection) -> tuple[list[LastWord], frozenset[RegionName]]:
    """The last word of each region, and those that are back from their silence."""
    words, back = [], set[RegionName]()
    for region in await inventory.known_regions(reading):
        words.append(LastWord(region.name, region.last_word_at_ms, region.drained))
        if region.returned:
            back.add(region.name)
    return words, frozenset(back)
