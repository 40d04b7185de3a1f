"""What lost attempts had completed in the main store goes; what counts, or may yet count, stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fleetcast.builds.lost_blobs import LostBlobs
from fleetcast.builds.queue import BuildQueue, Claim
from fleetcast.model.ids import BuildId
from fleetcast.model.limits import LOST_BLOBS_AGAIN_S, LOST_BLOBS_LOOK_BACK_S
from fleetcast.stores.database import Database
from fleetcast.stores.directory_blobs import DirectoryBlobs

Enqueue = Callable[..., Awaitable[BuildId]]
Passed = Callable[[BuildId, float], Awaitable[None]]


class Shelf:
    """A store that attempts complete blobs in, and the sweeper with a clock that stands still."""

    def __init__(self, database: Database, queue: BuildQueue, directory: Path) -> None:
        self.queue = queue
        self.main = DirectoryBlobs(directory, data_url="http://127.0.0.1:9", data_key=b"k" * 32)
        self.now_s = 0.0
        self.lost = LostBlobs(database, self.main, lambda: self.now_s)

    async def claim(self) -> Claim:
        claim = await self.queue.claim("w1")
        assert claim is not None
        return claim

    async def complete(self, claim: Claim) -> None:
        for blob in ("content", "manifest"):
            await self.main.put(f"builds/{claim.build.id}/{claim.build.attempt}/{blob}", b"data")

    async def kept(self) -> list[str]:
        return sorted({stat.key.rpartition("/")[0] for stat in [stat async for stat in self.main.list("builds/")]})


async def test_only_the_attempt_that_counts_keeps_its_blobs(
    database: Database, queue: BuildQueue, enqueue: Enqueue, tmp_path: Path
) -> None:
    shelf = Shelf(database, queue, tmp_path / "main")
    build = await enqueue()
    first = await shelf.claim()
    await shelf.complete(first)
    assert await shelf.lost.sweep() == 0, "it holds the build"
    await queue.fail(build, first.token, "control died in its commit", hand_back=True)
    second = await shelf.claim()
    await shelf.complete(second)
    assert await shelf.lost.sweep() == 2
    assert await shelf.kept() == [f"builds/{build}/2"]
    async with database.transaction() as tx:
        await queue.succeed(tx, build, second.token, f"builds/{build}/2/content")
    assert await shelf.lost.sweep() == 0
    assert await shelf.kept() == [f"builds/{build}/2"]


async def test_a_build_that_failed_or_waits_keeps_none(
    database: Database, queue: BuildQueue, enqueue: Enqueue, tmp_path: Path
) -> None:
    shelf = Shelf(database, queue, tmp_path / "main")
    failed, waits = await enqueue("a"), await enqueue("b")
    for build, hand_back in ((failed, False), (waits, True)):
        claim = await shelf.claim()
        assert claim.build.id == build
        await shelf.complete(claim)
        await queue.fail(build, claim.token, "its root was about something else", hand_back=hand_back)
    assert await shelf.lost.sweep() == 4
    assert await shelf.kept() == []


async def test_a_commit_that_ends_late_leaves_nothing_either(
    database: Database, queue: BuildQueue, enqueue: Enqueue, tmp_path: Path
) -> None:
    shelf = Shelf(database, queue, tmp_path / "main")
    build = await enqueue()
    claim = await shelf.claim()
    await queue.fail(build, claim.token, "its worker was lost", hand_back=True)
    assert await shelf.lost.sweep() == 0
    await shelf.complete(claim)
    shelf.now_s += LOST_BLOBS_AGAIN_S
    assert await shelf.lost.sweep() == 2


async def test_what_ended_long_ago_is_looked_at_no_more(
    database: Database, queue: BuildQueue, enqueue: Enqueue, passed: Passed, tmp_path: Path
) -> None:
    """It would be each time that control starts, for all builds that there ever were."""
    shelf = Shelf(database, queue, tmp_path / "main")
    build = await enqueue()
    claim = await shelf.claim()
    await shelf.complete(claim)
    await queue.fail(build, claim.token, "no")
    await passed(build, LOST_BLOBS_LOOK_BACK_S)
    assert await shelf.lost.sweep() == 0
    assert await shelf.kept() == [f"builds/{build}/1"]
