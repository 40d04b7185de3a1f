"""A cluster of three members under writes and a watch: whoever dies, nothing is lost and nothing is there twice."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import Final

from etcd_cluster import etcd_cluster, leader, url
from etcd_following import following, opened
from fleetcast.model.errors import Conflict, Unavailable
from fleetcast.stores.etcd_access import etcd_access
from fleetcast.stores.etcd_kv import EtcdKv

MORE: Final = 30
"""Writes between two strokes."""
SOON_S: Final = 60.0
_RETRY_S: Final = 0.05


class Writer:
    """Creates one key after another, each again until it is known to be there."""

    def __init__(self, kv: EtcdKv) -> None:
        self._kv = kv
        self.written: dict[str, int] = {}
        """Revision by key, in order."""
        self.obstacles = 0
        self._moved = asyncio.Event()

    async def write(self) -> None:
        for number in count():
            key = f"goals/{number}"
            self.written[key] = await self._create(key)
            self._moved.set()

    async def more(self) -> None:
        """Until ``MORE`` keys more are there."""
        wanted = len(self.written) + MORE
        async with asyncio.timeout(SOON_S):
            while len(self.written) < wanted:
                self._moved.clear()
                await self._moved.wait()

    async def _create(self, key: str) -> int:
        while True:
            try:
                return await self._kv.put(key, key.encode(), expected=0)
            except Conflict:  # the attempt whose answer was lost had done it
                entry = await self._kv.get(key)
                assert entry is not None
                return entry.mod_revision
            except Unavailable:
                self.obstacles += 1
                await asyncio.sleep(_RETRY_S)


async def test_a_member_and_then_the_leader_are_killed(tmp_path: Path) -> None:
    with etcd_cluster(tmp_path) as members:
        first = leader(members)
        # Who writes asks the leader, who watches the member that dies first.
        others = [member for member in members if member is not first]
        async with (
            opened(etcd_access(url([first, *others]))) as writing,
            opened(etcd_access(url([*others, first]))) as watching,
            following(watching) as follower,
        ):
            writer = Writer(writing)
            task = asyncio.create_task(writer.write())
            await writer.more()
            for victim in (others[0], first):
                assert await asyncio.to_thread(leader, members) is first
                await asyncio.to_thread(victim.stop)
                await writer.more()
                await asyncio.to_thread(victim.start)
                await writer.more()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            snapshot = await writing.range("goals/")
            await follower.until(lambda: len(follower.held) >= len(snapshot.entries))
    assert writer.obstacles > 0, "else nobody noticed that the leader was gone"
    there = {entry.key: entry.mod_revision for entry in snapshot.entries}
    assert {key: there[key] for key in writer.written} == writer.written, "what was told to be written is there, as told"
    assert len(there) - len(writer.written) in (0, 1), "one may have been under way"
    assert {entry.version for entry in snapshot.entries} == {1}
    assert follower.revisions == sorted(there.values()), "each was told of once, in order"
