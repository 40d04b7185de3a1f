"""How a region process knows whether permits of the one before it may still hold: a note of until when, written ahead.

One write a permit lifetime, however many permits are given. A region that never gave one starts without waiting. The note
goes by a clock that never jumps and names the boot it counts from: another boot's says only that permits were given.
"""

from __future__ import annotations

from typing import Final

from fleetcast.stores.kv import KeyValueStore

_KEY: Final = "permits/until_ms"


class PermitNote:
    """``boot`` and ``uptime_ms`` are those of ``stores/boots.py``; lifetimes are seconds."""

    def __init__(self, store: KeyValueStore, lifetime_s: float, boot: str) -> None:
        self._store = store
        self._lifetime_ms = round(lifetime_s * 1000)
        self._boot = boot
        self._until_ms = 0

    async def remaining_s(self, uptime_ms: int) -> float:
        """For how long permits given before may still hold: two lifetimes at most, after a boot one."""
        entry = await self._store.get(_KEY)
        if entry is None:
            return 0.0
        boot, _, until = entry.value.decode(errors="replace").partition(" ")
        if boot != self._boot or not until.isdecimal():
            return self._lifetime_ms / 1000
        return min(max(0, int(until) - uptime_ms), 2 * self._lifetime_ms) / 1000

    async def cover(self, uptime_ms: int) -> None:
        """To be called before a permit is given: after it, the note covers a permit given now."""
        if self._until_ms < uptime_ms + self._lifetime_ms:
            until_ms = uptime_ms + 2 * self._lifetime_ms
            await self._store.put(_KEY, f"{self._boot} {until_ms}".encode())
            self._until_ms = until_ms
