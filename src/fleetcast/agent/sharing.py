"""Which directories this machine shares with its peers. Two services may hold the same release: equal files are one swarm."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fleetcast.model.artifact import Root
from fleetcast.model.ids import Digest
from fleetcast.swarm.peer import SwarmPeer


class Sharing:
    """The swarm as all services of this machine use it."""

    def __init__(self, swarm: SwarmPeer) -> None:
        self.swarm = swarm
        self._holders: dict[Digest, dict[Path, tuple[Root, Digest]]] = {}
        self._locks: dict[Digest, asyncio.Lock] = {}

    def lock(self, digest: Digest) -> asyncio.Lock:
        """Held by who fetches, shares or removes a release, so that one service's fetch can copy from another's."""
        return self._locks.setdefault(digest, asyncio.Lock())

    def directories(self, digest: Digest) -> tuple[Path, ...]:
        """Where this machine has a release, whole."""
        return tuple(self._holders.get(digest, {}))

    async def share(self, root: Root, root_digest: Digest, directory: Path) -> None:
        """Serve a whole release. The caller holds the lock of its digest."""
        await asyncio.to_thread(self.swarm.share, root, root_digest, directory)
        self._holders.setdefault(root.digest, {})[directory] = (root, root_digest)

    async def withdraw(self, digest: Digest, directory: Path) -> None:
        """Serve a release no longer out of this directory, which is going away. The caller holds the lock of its digest."""
        holders = self._holders.get(digest, {})
        if holders.pop(directory, None) is None:
            return
        await asyncio.to_thread(self.swarm.unshare, digest)
        for other, (root, root_digest) in holders.items():
            await asyncio.to_thread(self.swarm.share, root, root_digest, other)
        if not holders:
            del self._holders[digest]
