"""Long polls: hold a request until there is something to say."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from litestar.types import Receive

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


class Bell:
    """Wakes everybody who waits, each time it rings; once closed, nobody waits any more."""

    def __init__(self) -> None:
        self._next = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self._closing.is_set()

    def ring(self) -> None:
        """Something changed: everybody look."""
        if not self.closed:
            rung, self._next = self._next, asyncio.Event()
            rung.set()

    def close(self) -> None:
        """The process stops: every hold ends with one last look, now and from now on."""
        self._closing.set()
        self._next.set()

    def next(self) -> asyncio.Event:
        """Set by the next ring. Take it before looking, so that a ring during the look is not lost."""
        return self._next

    async def until_closed(self, work: Awaitable[T]) -> T | None:
        """The result of ``work``, or ``None`` and ``work`` cancelled when the bell is closed first."""
        task, closing = asyncio.ensure_future(work), asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            closing.cancel()


class Line:
    """Wakes those who wait one after another, longest first: for what only one of them can have.

    A ring wakes one. Whoever finds something wakes two more, since where one was there may be others; whoever finds nothing
    wakes nobody. So a hundred who wait cost what is there, and not a hundred looks each time.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._rings = 0
        self._closed = False

    def ring(self) -> None:
        """There may be something: whose turn it is, look."""
        self._rings += 1
        self._wake(1)

    def close(self) -> None:
        """The process stops: every hold ends with one last look, now and from now on."""
        self._closed = True
        self._wake(len(self._waiting))

    async def hold(
        self, look: Callable[[], Awaitable[T | None]], *, wait_s: float, abandoned: Callable[[], bool] = lambda: False
    ) -> T | None:
        """What ``look`` finds: asked at once, whenever it is our turn, and at the end of the wait. ``None`` as :func:`hold`."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait_s
        while not abandoned():
            rings = self._rings
            try:
                found = await look()
            except asyncio.CancelledError:  # who leaves in the middle of a turn may not have used it
                self._wake(1)
                raise
            if found is not None:
                self._wake(2)
                return found
            left = deadline - clock()
            if left <= 0 or self._closed:
                return None
            if rings == self._rings:  # else it rang during the look, perhaps for what that did not see
                await self._turn(left)
        self._wake(1)  # it may have been our turn
        return None

    async def _turn(self, wait_s: float) -> None:
        """Until it is our turn, at most ``wait_s``."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(wait_s):
                await turn
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake(1)
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(turn)

    def _wake(self, count: int) -> None:
        while count and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1


class Places:
    """So many requests may be held at a time; whoever comes when all places are taken is answered at once."""

    def __init__(self, most: int) -> None:
        self._free = most

    @contextlib.contextmanager
    def taken(self, wanted_s: float) -> Iterator[float]:
        """How long to hold a request that wants to be held for ``wanted_s``: 0 where there is no place for it."""
        if wanted_s <= 0 or self._free <= 0:
            yield 0.0
            return
        self._free -= 1
        try:
            yield wanted_s
        finally:
            self._free += 1


class Bells(Generic[K]):
    """A bell for each of many things, there for as long as somebody holds on to it."""

    def __init__(self) -> None:
        self._bells: WeakValueDictionary[K, Bell] = WeakValueDictionary()
        self._closed = False

    def of(self, key: K) -> Bell:
        """The one of ``key``, the same for everybody who asks meanwhile."""
        bell = self._bells.get(key)
        if bell is None:
            self._bells[key] = bell = Bell()
            if self._closed:
                bell.close()
        return bell

    def ring(self, key: K) -> None:
        """What ``key`` names changed: everybody who waits for it, look."""
        bell = self._bells.get(key)
        if bell is not None:
            bell.ring()

    def close(self) -> None:
        """The process stops: close them all, those asked for later too."""
        self._closed = True
        for bell in list(self._bells.values()):
            bell.close()


async def hold(
    bell: Bell,
    look: Callable[[], Awaitable[T | None]],
    *,
    wait_s: float,
    poll_s: float,
    abandoned: Callable[[], bool] = lambda: False,
) -> T | None:
    """What ``look`` finds: asked at once, at every ring, and every ``poll_s`` for what rings in another process.

    ``None`` when ``wait_s`` is over, the bell is closed, or the caller has ``abandoned`` the request (which is checked
    before every look, so that nothing is taken for somebody who left).
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_s
    while not abandoned():
        ring = bell.next()
        found = await look()
        left = deadline - clock()
        if found is not None or left <= 0 or bell.closed:
            return found
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(left, poll_s)):
                await ring.wait()
    return None


def held_s(wanted_s: float, most_s: float) -> float:
    """How long to hold a request whose caller wants ``wanted_s``: within ``[0, most_s]``, 0 for what is no number."""
    return min(wanted_s, most_s) if wanted_s > 0 else 0.0


@contextlib.asynccontextmanager
async def caller_gone(receive: Receive) -> AsyncIterator[Callable[[], bool]]:
    """Tells whether the caller has closed the connection. The request's body must have been read before."""

    async def disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task = asyncio.create_task(disconnect())
    try:
        yield task.done
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
