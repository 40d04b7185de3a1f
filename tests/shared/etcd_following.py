"""Whoever keeps up with what an etcd cluster has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest

from fleetcast.model.errors import Compacted, FleetcastError, Unavailable
from fleetcast.stores.etcd_access import EtcdAccess
from fleetcast.stores.etcd_kv import EtcdKv

_RETRY_S: Final = 0.05


@asynccontextmanager
async def opened(access: EtcdAccess) -> AsyncIterator[EtcdKv]:
    kv = await EtcdKv.open(access)
    yield kv
    await kv.close()


class Follower:
    """Somebody who keeps up with a prefix as regions do: again after an error, from a snapshot where history is gone."""

    def __init__(self, kv: EtcdKv) -> None:
        self._kv = kv
        self.held: dict[str, bytes] = {}
        self.revisions: list[int] = []
        self.obstacles: list[FleetcastError] = []
        self.moved = asyncio.Event()
        self._after = 0

    async def follow(self) -> None:
        while True:
            try:
                found = await self._kv.changes("goals/", self._after, wait_s=60)
            except Compacted as error:
                self.obstacles.append(error)
                await self.relist()
            except Unavailable as error:
                self.obstacles.append(error)
                await asyncio.sleep(_RETRY_S)
            else:
                for change in found.changes:
                    self.revisions.append(change.mod_revision)
                    if change.value is None:
                        self.held.pop(change.key, None)
                    else:
                        self.held[change.key] = change.value
                self._after = found.revision
            self.moved.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                self.moved.clear()
                await self.moved.wait()

    async def relist(self) -> None:
        snapshot = await self._kv.range("goals/")
        self.held = {entry.key: entry.value for entry in snapshot.entries}
        self._after = snapshot.revision


@asynccontextmanager
async def following(kv: EtcdKv, follower: Follower | None = None) -> AsyncIterator[Follower]:
    if follower is None:
        follower = Follower(kv)
        await follower.relist()
    task = asyncio.create_task(follower.follow())
    yield follower
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
