"""The loop that brings given labels from the global key-value store into the regional one.

Apart from goals and artifacts: whoever labels a hundred thousand machines at once keeps no deployment waiting. All machines'
labels are taken, not only this region's: one that moves here finds its own. What vanishes at control takes no label away, only
other labels do, so that a store that was lost does not.
"""

from __future__ import annotations

import asyncio
import time
from random import Random

import structlog

from fleetcast.http import messages
from fleetcast.model.artifact import labels_key
from fleetcast.model.errors import FleetcastError, Incompatible, Invalid
from fleetcast.model.limits import MIRROR_SNAPSHOT_INTERVAL_S
from fleetcast.model.machine import GivenLabels
from fleetcast.model.messages.regions import KvEntry
from fleetcast.region.mirror import GlobalStore, changed_since
from fleetcast.region.view import LABELS
from fleetcast.stores.kv import KeyValueStore

log = structlog.get_logger(__name__)


class LabelMirror:
    """Writes the regional store; several may do so at once, the next snapshot evens out what they did to each other."""

    def __init__(self, control: GlobalStore, store: KeyValueStore, interval_s: float, rng: Random) -> None:
        self._control = control
        self._store = store
        self._interval_s = interval_s
        self._rng = rng
        self._cursor = 0
        self._snapshot_due = 0.0

    async def run(self) -> None:
        """Poll until cancelled. The mirror of goals says when control cannot be reached."""
        while True:
            try:
                await self.poll()
            except FleetcastError as error:
                log.debug("labels_not_mirrored", error=error.message)
            await asyncio.sleep(self._interval_s * self._rng.uniform(0.9, 1.1))

    async def poll(self) -> None:
        """Take over what is new; now and then everything is read. Raises :class:`Unavailable`."""
        now = time.monotonic()
        whole = now >= self._snapshot_due
        pages = await changed_since(self._control, LABELS, 0 if whole else self._cursor)
        for page in pages:
            for entry in page.entries:
                await self._take(entry)
        self._cursor = pages[-1].revision
        if whole:
            self._snapshot_due = now + MIRROR_SNAPSHOT_INTERVAL_S

    async def _take(self, entry: KvEntry) -> None:
        try:
            given = messages.decode(entry.value, GivenLabels)
        except (Invalid, Incompatible) as error:
            log.error("labels_unreadable", key=entry.key, error=error.message)
            return
        if entry.key != labels_key(given.machine):
            log.error("labels_of_another", key=entry.key, machine=given.machine)
            return
        held = await self._store.get(entry.key)
        value = entry.value.encode()
        if held is None or held.value != value:
            await self._store.put(entry.key, value)
