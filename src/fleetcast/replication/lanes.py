"""The connections and buffers with which a region's copies read from the main store: so many, whatever is copied.

A lane reads one thing at a time, in a thread that nobody joins: a source that stalls must not hold up the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

from fleetcast.model.limits import (
    BLOB_PART_BYTES,
    CHUNK_BYTES_MAX,
    COPY_LANES_MAX,
    COPY_SLICE_BYTES,
    COPY_STALL_S_MAX,
)
from fleetcast.model.messages.grants import Grant
from fleetcast.replication.reuse import Run
from fleetcast.stores.limiter import Limiter
from fleetcast.stores.transfer import GrantConnection

LANE_BYTES = BLOB_PART_BYTES + 2 * CHUNK_BYTES_MAX
"""A part with all chunks that it touches."""


class Lane:
    """One connection to the source and one buffer."""

    def __init__(self, limit: Limiter, *, background: bool) -> None:
        self.buffer = memoryview(bytearray(LANE_BYTES))
        self._limit = limit
        self._connection = GrantConnection(timeout_s=COPY_STALL_S_MAX, background=background)
        self._lock = threading.Lock()
        self._reading = False
        self._left = False

    def leave(self) -> None:
        """Never to be used again. Whoever is last, this or the thread that reads, closes the connection."""
        with self._lock:
            self._left = True
            if not self._reading:
                self._connection.close()

    async def read(self, grant: Grant, runs: Iterable[Run], view: memoryview, whose: str) -> None:
        """Fill these runs of ``view`` from the source; copies with different ``whose`` share a limit evenly."""
        wanted = tuple(runs)
        if not wanted:
            return

        def run() -> None:
            try:
                for each in wanted:
                    self._read(grant, each.offset, view[each.start : each.end], whose)
            finally:
                with self._lock:
                    self._reading = False
                    if self._left:
                        self._connection.close()

        with self._lock:
            self._reading = True
        await _in_daemon_thread(run)

    def _read(self, grant: Grant, offset: int, view: memoryview, whose: str) -> None:
        if not len(view):
            return
        with self._connection.reading(grant, offset, len(view)) as fill:
            for piece in _slices(view, COPY_SLICE_BYTES if self._limit.bytes_per_s else len(view)):
                if not self._limit.pay(whose, len(piece), lambda: not self._left):
                    return  # nobody waits for it any more
                fill(piece)


class Lanes:
    """``COPY_LANES_MAX`` of them. Those that are free stay open for as long as somebody copies."""

    def __init__(self, limit: Limiter, *, background: bool) -> None:
        """``limit``: of all that is read. ``background``: mark connections."""
        self._limit = limit
        self._background = background
        self._turn = asyncio.Semaphore(COPY_LANES_MAX)
        self._free: list[Lane] = []
        self._copies = 0

    @contextlib.contextmanager
    def copying(self) -> Iterator[None]:
        """Around one copy: when the last one ends, connections and buffers go."""
        self._copies += 1
        try:
            yield
        finally:
            self._copies -= 1
            while self._free and not self._copies:
                self._free.pop().leave()

    @contextlib.asynccontextmanager
    async def borrow(self) -> AsyncIterator[Lane]:
        """One to work with, as soon as one is free. After an error it is nobody's: a thread may still write into its buffer."""
        async with self._turn:
            lane = self._free.pop() if self._free else Lane(self._limit, background=self._background)
            try:
                yield lane
            except BaseException:
                lane.leave()
                raise
            if self._copies:
                self._free.append(lane)
            else:
                lane.leave()


def _slices(view: memoryview, size: int) -> Iterator[memoryview]:
    for at in range(0, len(view), size):
        yield view[at : at + size]


async def _in_daemon_thread(work: Callable[[], None]) -> None:
    """Run ``work`` in a thread of its own and wait for it. Cancelled, it leaves the thread behind."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as caught:  # whatever it is, it belongs to whoever waits
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, daemon=True, name="copy").start()
    await done
