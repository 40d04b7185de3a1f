"""A rate limit that threads keep to: each waits for its turn before it goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fleetcast.model.limits import RATE_LOOK_S
from fleetcast.stores.rates import UNLIMITED, Line, Rate, Turn


class Limiter:
    """Callable from any thread. Without a limit, nobody waits and no lock is taken."""

    def __init__(self, bytes_per_s: int = UNLIMITED) -> None:
        self._lock = threading.Lock()
        self._line = Line()
        self._rate = Rate(bytes_per_s)
        self._woken: dict[Turn, threading.Condition] = {}
        self.bytes_per_s = bytes_per_s
        """``UNLIMITED`` is 0; changed by :meth:`change` alone."""

    def change(self, bytes_per_s: int) -> None:
        """From now on, for those who wait already too."""
        with self._lock:
            self._rate.change(bytes_per_s, time.monotonic())
            self.bytes_per_s = bytes_per_s
            for woken in self._woken.values():
                woken.notify_all()

    def pay(self, whose: str, size: int, still: Callable[[], bool]) -> bool:
        """Return when ``size`` bytes may go. Those who are called differently get equally much.

        Whoever waits is asked ``still`` every ``RATE_LOOK_S``, outside of any lock of ours; False, or an error, which is
        passed on: it waits no more, has paid nothing, and neither has who gets False from here.
        """
        if not self.bytes_per_s:
            return True
        woken = threading.Condition(self._lock)
        with self._lock:
            turn = self._line.join(whose, size)
            self._woken[turn] = woken
        gone = False
        try:
            while not gone:
                with self._lock:
                    gone = self._go(turn, woken, time.monotonic() + RATE_LOOK_S)
                if not gone and not still():
                    return False
            return True
        finally:
            with self._lock:
                del self._woken[turn]
                if not gone:
                    self._line.leave(turn)
                self._wake_next()

    def _go(self, turn: Turn, woken: threading.Condition, until: float) -> bool:
        """Wait for the turn, until then at most; True: it has come, and is paid for."""
        while (pause_s := self._pause_s(turn)) > 0:
            left_s = until - time.monotonic()
            if left_s <= 0:
                return False
            woken.wait(min(pause_s, left_s))
        self._line.go(turn)
        self._rate.spend(turn.size, time.monotonic())
        return True

    def _pause_s(self, turn: Turn) -> float:
        """How long until ``turn`` may go; without end while others go first."""
        if not self.bytes_per_s:
            return 0.0
        return self._rate.wait_s(time.monotonic()) if self._line.next() is turn else float("inf")

    def _wake_next(self) -> None:
        first = self._line.next()
        if first is not None:
            self._woken[first].notify_all()
