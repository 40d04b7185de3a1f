"""Copying an artifact into the bucket and deleting it from there take turns: never both at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from fleetcast.model.ids import Digest


class CopyTurns:
    """For one event loop."""

    def __init__(self) -> None:
        self._copying: Counter[Digest] = Counter()
        self._deleting: dict[Digest, asyncio.Event] = {}

    @asynccontextmanager
    async def copying(self, digest: Digest) -> AsyncIterator[None]:
        """Waits until nobody deletes it."""
        while (deleted := self._deleting.get(digest)) is not None:
            await deleted.wait()
        self._copying[digest] += 1
        try:
            yield
        finally:
            self._copying[digest] -= 1
            if not self._copying[digest]:
                del self._copying[digest]

    @contextmanager
    def deleting(self, digest: Digest) -> Iterator[bool]:
        """False: somebody copies it. For one at a time."""
        if digest in self._copying:
            yield False
            return
        deleted = self._deleting[digest] = asyncio.Event()
        try:
            yield True
        finally:
            del self._deleting[digest]
            deleted.set()
