"""Calls that come while a transaction is under way share the next one.

A transaction costs a commit to disk and some round trips, whatever it changes. A caller who is alone waits for nobody; of a
hundred who come at once, the first has a transaction and the others have the second: the database does a hundredth of the work,
and every caller has its own answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog
from sqlalchemy.exc import IntegrityError

log = structlog.get_logger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Gathered(Generic[Item, Answer]):
    """One transaction at a time, for whoever waits by then. Use it from one event loop."""

    def __init__(
        self,
        carry_out: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]],
        at_once_max: int,
        lost: Callable[[Item, Answer], Awaitable[None]] | None = None,
    ) -> None:
        """``carry_out`` gives each item its answer, or the error that its caller gets; an error that it raises itself is
        everybody's. ``lost`` is told of an answer whose caller has left, once all others have theirs; what it
        raises is nobody's: it is logged."""
        self._carry_out = carry_out
        self._at_once_max = at_once_max
        self._lost = lost
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._work: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Answer:
        """The answer to ``item``. Whoever is cancelled meanwhile may have been carried out all the same."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._work is None:
            self._work = asyncio.create_task(self._until_nobody_waits())
        return await future

    async def _until_nobody_waits(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._at_once_max], self._waiting[self._at_once_max :]
                await self._turn([(item, future) for item, future in batch if not future.done()])
        finally:
            self._work = None
            for _, future in self._waiting:  # only where the loop itself ends
                future.cancel()

    async def _turn(self, batch: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        if not batch:
            return
        try:
            answers = await self._carry_out([item for item, _ in batch])
        except IntegrityError as error:
            if len(batch) > 1:  # nothing was written: whose row it is shows when each has its own transaction
                for one in batch:
                    await self._turn([one])
                return
            answers = [error]
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:
            answers = [error] * len(batch)
        left: list[tuple[Item, Answer]] = []
        for (item, future), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                if not future.done():
                    future.set_exception(answer)
            elif not future.done():
                future.set_result(answer)
            else:
                left.append((item, answer))
        for item, answer in left:
            await self._tell_lost(item, answer)

    async def _tell_lost(self, item: Item, answer: Answer) -> None:
        if self._lost is None:
            return
        try:
            await self._lost(item, answer)
        except Exception:  # whatever it is, those who wait for the next transaction are not to have it
            log.exception("lost_answer_not_told")
