"""Control's own look into real buckets, kept in a database of its own, and what becomes deployable by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update

from fleetcast.model.artifact import regional_content_blob, regional_manifest_blob
from fleetcast.model.build import BuildStatus, Recipe
from fleetcast.model.ids import Digest, RegionName
from fleetcast.model.limits import REPLICATION_LOOKS_MAX
from fleetcast.model.replication import ReplicaStatus
from fleetcast.replication.status import ReplicationStatus, list_replicas
from fleetcast.schema import migrate
from fleetcast.schema.copy_tables import deletions
from fleetcast.schema.tables import artifacts, copies, jobs, regions, releases, replicas
from fleetcast.stores.blobs import BlobReader, BlobStat
from fleetcast.stores.data_port_blobs import DataPortBlobs
from fleetcast.stores.database import Database
from fleetcast.stores.directory_blobs import DirectoryBlobs

PENDING, COMPLETE, FAILED = ReplicaStatus.PENDING, ReplicaStatus.COMPLETE, ReplicaStatus.FAILED
DIGEST = Digest("a" * 64)
EU, US = RegionName("eu"), RegionName("us")
MANIFEST, CONTENT = b"manifest", b"content" * 10
NOBODY_LISTENS = DataPortBlobs("http://127.0.0.1:1", b"k" * 32)


@dataclass
class World:
    database: Database
    replication: Database
    status: ReplicationStatus
    stores: dict[RegionName, DirectoryBlobs]
    ways: dict[RegionName, BlobReader | None]
    changes: list[bool] = field(default_factory=list)

    async def copy(self, region: RegionName, *, content: bytes = CONTENT) -> None:
        await self.stores[region].put(regional_manifest_blob(DIGEST), MANIFEST)
        await self.stores[region].put(regional_content_blob(DIGEST), content)

    async def look(self) -> dict[str, ReplicaStatus]:
        await self.status.check()
        async with self.replication.reading() as reading:
            return {replica.bucket: replica.status for replica in await list_replicas(reading, DIGEST)}

    async def reason(self, region: RegionName) -> str:
        async with self.replication.reading() as reading:
            return next(replica.reason for replica in await list_replicas(reading, DIGEST) if replica.bucket == region)

    async def release(self) -> tuple[bool, str]:
        async with self.database.reading() as reading:
            row = (await reading.execute(select(releases).where(releases.c.digest == DIGEST))).one()
        return row.deployable, row.waiting_for

    async def a_minute_later(self) -> None:
        async with self.replication.transaction() as tx:
            await tx.execute(update(replicas).values(checked_at=replicas.c.checked_at - 60_000))


async def _artifact(database: Database, *, published: bool = True, commit: str = "c", digest: Digest = DIGEST) -> None:
    async with database.transaction() as tx:
        job = {"created_at": 1, "queued_at": 1, "commit_sha": commit, "name": f"web/{commit}", "status": BuildStatus.SUCCEEDED}
        job |= {"service": "web", "build_number": 1, "repository": "/repo", "trunk": "", "recipe": Recipe()}
        build = (await tx.execute(insert(jobs).values(**job).returning(jobs.c.id))).scalar_one()
        row = {"name": f"web/{commit}", "service": "web", "commit_sha": commit, "build_number": 1}
        row |= {"build_id": build, "attempt": 1}
        row |= {"trunk": "", "digest": digest, "root": commit, "envelope": "{}", "manifest_blob": "m", "content_blob": "c"}
        row |= {"manifest_size": len(MANIFEST), "content_size": len(CONTENT), "created_at": 1}
        await tx.execute(insert(artifacts).values(**row, published_at=1 if published else None))


async def _open(path: Path) -> Database:
    url = f"sqlite+aiosqlite:///{path}"
    await asyncio.to_thread(migrate, url)
    return await Database.open(url)


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """Two regions with a bucket each, one artifact that both should hold."""
    database, replication = await Database.open(database_url), await _open(tmp_path / "replication.db")
    async with database.transaction() as tx:
        for region in (EU, US):
            await tx.execute(insert(regions).values(name=region, data_url="http://x", data_key="00", hello_at=1))
    await _artifact(database)
    stores = {region: DirectoryBlobs(tmp_path / region, data_url="http://x", data_key=b"k" * 32) for region in (EU, US)}
    ways: dict[RegionName, BlobReader | None] = dict(stores)
    changes: list[bool] = []
    status = ReplicationStatus(
        database, lambda region: ways[region], replication=replication, on_change=lambda: changes.append(True)
    )
    yield World(database, replication, status, stores, ways, changes)
    await database.close()
    await replication.close()


async def test_a_release_is_deployable_when_every_bucket_has_it(world: World) -> None:
    assert await world.look() == {EU: PENDING, US: PENDING}
    assert await world.release() == (False, "eu: PENDING (being copied); us: PENDING (being copied)")
    await world.copy(EU)
    assert await world.look() == {EU: COMPLETE, US: PENDING}
    assert await world.release() == (False, "us: PENDING (being copied)")
    assert world.changes == []
    await world.copy(US)
    assert await world.look() == {EU: COMPLETE, US: COMPLETE}
    assert await world.release() == (True, "")
    assert world.changes == [True]


async def test_one_blob_of_two_is_not_a_copy(world: World) -> None:
    await world.stores[EU].put(regional_content_blob(DIGEST), CONTENT)
    assert (await world.look())[EU] is PENDING


async def test_a_blob_that_vanished_goes_back_to_pending_and_comes_back(world: World) -> None:
    for region in (EU, US):
        await world.copy(region)
    await world.look()
    await world.stores[US].delete(regional_content_blob(DIGEST))
    assert (await world.look())[US] is COMPLETE  # looked at a moment ago
    await world.a_minute_later()
    assert (await world.look())[US] is PENDING
    assert await world.release() == (False, "us: PENDING (it vanished from the bucket)")
    await world.copy(US)
    assert (await world.look())[US] is COMPLETE
    assert await world.release() == (True, "")
    assert len(world.changes) == 3


async def test_a_region_that_is_away_holds_up_what_it_lacks_and_nothing_else(world: World) -> None:
    await world.copy(EU)
    world.ways[US] = NOBODY_LISTENS
    assert await world.look() == {EU: COMPLETE, US: PENDING}
    assert (await world.reason(US)).startswith("its bucket does not answer")
    world.ways[US] = None
    await world.look()
    assert await world.reason(US) == "its bucket does not answer: control does not know where it is"

    world.ways[US] = world.stores[US]
    await world.copy(US)
    await world.look()
    world.ways[US] = NOBODY_LISTENS
    await world.a_minute_later()
    assert await world.look() == {EU: COMPLETE, US: COMPLETE}
    assert await world.release() == (True, "")


async def test_a_bucket_that_does_not_answer_is_not_asked_about_everything(world: World) -> None:
    class Silent(DataPortBlobs):
        asked = 0

        async def stat(self, key: str) -> BlobStat | None:
            self.asked += 1
            return await super().stat(key)

    silent = Silent("http://127.0.0.1:1", b"k" * 32)
    world.ways[US] = silent
    for number in range(3 * REPLICATION_LOOKS_MAX):
        await _artifact(world.database, commit=f"c{number}", digest=Digest(f"{number:064}"))
    await world.copy(EU)
    assert await world.look() == {EU: COMPLETE, US: PENDING}
    assert silent.asked <= REPLICATION_LOOKS_MAX


async def test_a_drained_region_does_not_count_and_a_new_one_does(world: World) -> None:
    await world.copy(EU)
    async with world.database.transaction() as tx:
        await tx.execute(update(regions).where(regions.c.name == US).values(drained=True))
    await world.look()
    assert await world.release() == (True, "")
    async with world.database.transaction() as tx:
        await tx.execute(update(regions).where(regions.c.name == US).values(drained=False))
    await world.look()
    assert await world.release() == (False, "us: PENDING (being copied)")


async def test_without_a_region_nothing_is_deployable(world: World) -> None:
    async with world.database.transaction() as tx:
        await tx.execute(update(regions).values(drained=True))
    await world.look()
    assert await world.release() == (False, "a region to join")


async def test_a_copy_that_a_region_cannot_make_is_tried_again_until_it_is_given_up(world: World) -> None:
    await world.copy(EU)
    async with world.database.transaction() as tx:
        error = {"bytes_copied": 0, "bytes_total": 70, "error": "disk full", "updated_at": 1}
        await tx.execute(insert(copies).values(region=US, digest=DIGEST, **error))
    assert (await world.look())[US] is PENDING
    assert await world.release() == (False, "us: PENDING (the last attempt failed: disk full)")
    async with world.database.transaction() as tx:
        await tx.execute(update(copies).values(given_up=True))
    assert (await world.look())[US] is FAILED
    assert await world.release() == (False, "us: FAILED (disk full)")
    await world.copy(US)
    assert (await world.look())[US] is COMPLETE


async def test_a_region_that_is_back_lacks_what_was_a_release_before_until_it_has_it(world: World) -> None:
    """And is waited for by nobody meanwhile."""
    await world.copy(EU)
    async with world.database.transaction() as tx:
        await tx.execute(update(regions).where(regions.c.name == US).values(drained=True, silent_at=1))
    assert await world.look() == {EU: COMPLETE}, "nobody asks a bucket whose region is away"
    assert await world.release() == (True, "")
    async with world.database.transaction() as tx:
        completed = (await tx.execute(select(releases.c.completed_at))).scalar_one()
        await tx.execute(update(regions).where(regions.c.name == US).values(returned_at=completed))
    assert await world.status.check() == {US: 1}
    assert await world.release() == (True, "")
    await world.copy(US)
    assert await world.status.check() == {US: 0}


async def test_a_region_that_is_back_need_not_have_what_became_a_release_since(world: World) -> None:
    await world.copy(EU)
    async with world.database.transaction() as tx:
        await tx.execute(update(regions).where(regions.c.name == US).values(drained=True, silent_at=1, returned_at=2))
    await world.look()
    assert await world.status.check() == {US: 0}


async def test_wrong_bytes_are_no_copy(world: World) -> None:
    await world.copy(EU, content=b"short")
    assert (await world.look())[EU] is FAILED


async def test_what_is_not_published_is_not_missed(tmp_path: Path) -> None:
    database = await _open(tmp_path / "control.db")
    await _artifact(database, published=False)
    await ReplicationStatus(database, {}.get).check()
    async with database.reading() as reading:
        assert (await reading.execute(select(replicas))).all() == []
        assert (await reading.execute(select(releases))).all() == []
    await database.close()


async def test_nothing_is_written_while_nothing_changes(world: World) -> None:
    await world.look()
    async with world.replication.reading() as reading:
        before = (await reading.execute(select(replicas).order_by(replicas.c.bucket))).all()
    await world.look()
    async with world.replication.reading() as reading:
        assert (await reading.execute(select(replicas).order_by(replicas.c.bucket))).all() == before


async def test_who_waits_for_a_release_is_told_when_it_is_deployable(world: World) -> None:
    found = asyncio.Event()
    status = ReplicationStatus(
        world.database, lambda region: world.ways[region], replication=world.replication, on_change=found.set
    )
    await world.copy(EU)
    await status.check()
    assert not found.is_set()
    await world.copy(US)
    await status.check()
    assert found.is_set()
    assert await world.release() == (True, "")


# After copies were collected


async def _published(world: World, at: int | None) -> None:
    async with world.database.transaction() as tx:
        await tx.execute(update(artifacts).values(published_at=at))


async def test_what_was_seen_before_a_release_was_collected_says_nothing_when_it_is_deployed_again(world: World) -> None:
    for region in (EU, US):
        await world.copy(region)
    await world.look()
    assert await world.release() == (True, "")
    for region in (EU, US):
        await world.stores[region].delete(regional_content_blob(DIGEST))
        await world.stores[region].delete(regional_manifest_blob(DIGEST))
    await _published(world, 2)

    assert await world.look() == {EU: PENDING, US: PENDING}  # looked at a moment ago, for another publication
    assert await world.release() == (False, "eu: PENDING (being copied); us: PENDING (being copied)")


async def test_what_a_version_before_wrote_down_is_looked_at_again(world: World) -> None:
    await world.copy(EU)
    await world.look()
    async with world.replication.transaction() as tx:
        await tx.execute(update(replicas).values(published_at=None))
    await world.stores[EU].delete(regional_content_blob(DIGEST))

    assert (await world.look())[EU] is PENDING


async def test_a_copy_that_its_region_is_deleting_does_not_count(world: World) -> None:
    for region in (EU, US):
        await world.copy(region)
    async with world.database.transaction() as tx:
        await tx.execute(insert(deletions).values(region=EU, digest=DIGEST, granted_at=1))
    assert await world.look() == {EU: PENDING, US: COMPLETE}
    assert await world.release() == (False, "eu: PENDING (the copy that was collected is deleted first)")

    async with world.database.transaction() as tx:
        await tx.execute(delete(deletions))
    assert await world.look() == {EU: COMPLETE, US: COMPLETE}


async def test_what_is_collected_during_the_look_does_not_become_deployable(world: World, tmp_path: Path) -> None:
    for region in (EU, US):
        await world.copy(region)

    class Meanwhile(DirectoryBlobs):
        async def stat(self, key: str) -> BlobStat | None:
            await _published(world, None)
            return await super().stat(key)

    world.ways[EU] = Meanwhile(tmp_path / EU, data_url="http://x", data_key=b"k" * 32)
    await world.look()

    assert world.changes == []
    async with world.database.reading() as reading:
        assert (await reading.execute(select(releases))).all() == []
