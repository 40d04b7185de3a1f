"""How much to have asked for at a time: of all neighbours, or all of a region's machines of its origin.

Few pieces: what is asked for early is chosen by what was rare long ago, waits behind others, and cannot be asked of whoever
has become free meanwhile. Enough of them that they cover the way there and back: so many as arrive in ``seconds``, within
bounds. A window that grows lets more arrive, so that it finds a fast or a long way by itself.

Pure.
"""

from __future__ import annotations

from typing import Final

_MEASURED_OVER_S: Final = 0.25


class Window:
    """All times are seconds of one monotonic clock."""

    def __init__(self, minimum: int, maximum: int, seconds: float) -> None:
        self.pieces = minimum
        """To have asked for."""
        self._minimum = minimum
        self._maximum = maximum
        self._seconds = seconds
        self.per_s = 0.0
        """How many came a second when that was measured last."""
        self._arrived = 0
        self._since = float("-inf")

    def arrived(self, now: float, pieces: int = 1) -> None:
        """More pieces came."""
        self._arrived += pieces
        elapsed_s = now - self._since
        if elapsed_s >= _MEASURED_OVER_S:
            self.per_s = self._arrived / elapsed_s
            self.pieces = min(self._maximum, max(self._minimum, int(self.per_s * self._seconds)))
            self._arrived, self._since = 0, now

    def share(self, among: int) -> int:
        """The part of each of ``among``; at least 1."""
        return -(-self.pieces // max(1, among))
