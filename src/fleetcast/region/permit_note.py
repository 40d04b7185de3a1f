"""How a region process knows whether permits of the one before it may still hold: a note of until when, written ahead.

One write a permit lifetime, however many permits are given. A region that never gave one starts without waiting.
"""

from __future__ import annotations

from typing import Final

from fleetcast.stores.kv import KeyValueStore

_KEY: Final = "permits/until_ms"


class PermitNote:
    """Times are UTC milliseconds, lifetimes seconds."""

    def __init__(self, store: KeyValueStore, lifetime_s: float) -> None:
        self._store = store
        self._lifetime_ms = round(lifetime_s * 1000)
        self._until_ms = 0

    async def remaining_s(self, now_ms: int) -> float:
        """For how long permits given before may still hold: at most two lifetimes, whatever a clock has done since."""
        entry = await self._store.get(_KEY)
        until_ms = 0 if entry is None or not entry.value.isdigit() else int(entry.value)
        return min(max(0, until_ms - now_ms), 2 * self._lifetime_ms) / 1000

    async def cover(self, now_ms: int) -> None:
        """To be called before a permit is given: after it, the note covers a permit given now."""
        if self._until_ms < now_ms + self._lifetime_ms:
            until_ms = now_ms + 2 * self._lifetime_ms
            await self._store.put(_KEY, str(until_ms).encode())
            self._until_ms = until_ms
