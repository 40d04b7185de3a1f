"""Tells the peers that wait for news what has become ours.

Whoever brings news tells it, if nothing was told for ``SWARM_NEWS_S``: no other thread has to wake up for that. What comes
sooner is gathered and told by a thread of its own, so that a piece a millisecond does not cost every neighbour a frame and a
wake-up for each.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Final, Protocol

from fleetcast.model.limits import HAVE_WAIT_MS_MAX, SWARM_CLOSE_S_MAX, SWARM_NEWS_S

_HELD_S: Final = HAVE_WAIT_MS_MAX / 1000
_PAUSE_PER_TELLING: Final = 8


class Listener(Protocol):
    """Somebody who asked for news. Hashable."""

    def tell(self, *, anything: bool) -> None:
        """Send what is new, or with ``anything`` that nothing is, and :meth:`Teller.forget` it; or nothing. Never raises."""


class Teller:
    """Callable from any thread."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._waiting: dict[Listener, float] = {}
        """Until when each is content to hear nothing."""
        self._news = False
        self._quiet_until = 0.0
        """When news may be told at once again."""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="swarm-teller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def poke(self) -> None:
        """There is news of something. Not under the lock of a holding or a wire."""
        # Read without the lock: whoever sets it wakes the thread, which reads the news themselves afterwards.
        if self._news:
            return
        with self._change:
            now = time.monotonic()
            if self._news or now < self._quiet_until:
                self._news = True
                self._change.notify()
                return
            # Until this is told, and what it took is known, others gather.
            self._quiet_until = math.inf
        self._tell(now)

    def listen(self, listener: Listener) -> None:
        """Tell it once, as soon as there is news, or after ``HAVE_WAIT_MS_MAX``; then, or before, it is forgotten."""
        with self._change:
            self._waiting[listener] = time.monotonic() + _HELD_S

    def forget(self, listener: Listener) -> None:
        """It was told, or is gone."""
        with self._change:
            self._waiting.pop(listener, None)

    def close(self) -> None:
        with self._change:
            self._closing = True
            self._change.notify()
        if self._thread.ident is not None:
            self._thread.join(SWARM_CLOSE_S_MAX)

    def _run(self) -> None:
        while self._wait():
            self._tell(time.monotonic())

    def _tell(self, now: float) -> None:
        with self._change:
            waiting = list(self._waiting.items())
        try:
            for listener, until in waiting:
                listener.tell(anything=now >= until)
        finally:
            told = time.monotonic()
            with self._change:
                # Where telling is slow there is little time for it: better to tell more at a time.
                self._quiet_until = told + max(SWARM_NEWS_S, min(_PAUSE_PER_TELLING * (told - now), _HELD_S))
                if self._news:
                    self._change.notify()

    def _wait(self) -> bool:
        """Until there may be something to tell; False: the end."""
        with self._change:
            # Whoever could not be told in time, because a piece was being sent to it, is tried again at this pace too.
            pause_s = max(SWARM_NEWS_S, min(self._waiting.values(), default=math.inf) - time.monotonic())
            if not self._news and not self._closing:
                self._change.wait(min(pause_s, _HELD_S))
            while self._news and not self._closing and (left_s := self._quiet_until - time.monotonic()) > 0:
                self._change.wait(min(left_s, _HELD_S))
            self._news = False
            return not self._closing
