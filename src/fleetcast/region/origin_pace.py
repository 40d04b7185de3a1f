"""How many pieces of the region's bucket may be leased now, so that its limit serves them before long: pieces that are leased
and lie in line at the data port help nobody, and hold up whoever else would read them.

Pure. All times are monotonic seconds.
"""

from __future__ import annotations

from fleetcast.model.ids import Digest
from fleetcast.model.limits import ORIGIN_AHEAD_S
from fleetcast.stores.rates import Rate


class OriginPace:
    """The artifacts that were asked for in the last ``ORIGIN_AHEAD_S`` have equal shares of the limit."""

    def __init__(self) -> None:
        self._rates: dict[Digest, Rate] = {}
        self._asked_at: dict[Digest, float] = {}

    def pieces(self, digest: Digest, piece_bytes: float, want: int, bytes_per_s: int, now: float) -> int:
        """How many of ``want`` pieces, of about ``piece_bytes`` each, may be leased. ``bytes_per_s``: the limit, 0 for none."""
        if not bytes_per_s:
            return want
        self._asked_at[digest] = now
        self._forget(now)
        share = bytes_per_s / len(self._asked_at)
        rate = self._rates.setdefault(digest, Rate(share))
        if rate.bytes_per_s != share:
            rate.change(share, now)
        room_s = ORIGIN_AHEAD_S - rate.wait_s(now)
        # One fits always once there is room at all: it may be larger than what the limit lets through in that time.
        return min(want, max(1, int(room_s * share / piece_bytes))) if room_s > 0 else 0

    def leased(self, digest: Digest, size: float, now: float) -> None:
        """So many bytes were leased."""
        if digest in self._rates:
            self._rates[digest].spend(size, now)

    def _forget(self, now: float) -> None:
        """Artifacts that nobody asks for any more, once what was leased of them has been served."""
        for digest in [digest for digest, at in self._asked_at.items() if now - at > ORIGIN_AHEAD_S]:
            del self._asked_at[digest]
        for digest in [digest for digest, rate in self._rates.items() if digest not in self._asked_at and not rate.wait_s(now)]:
            del self._rates[digest]
