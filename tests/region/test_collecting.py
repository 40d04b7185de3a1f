"""A region deletes copies that control says were collected, and no others. Real bucket, real store of keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleetcast.http import messages
from fleetcast.model.artifact import ArtifactRecord, artifact_record_key, regional_content_blob, regional_manifest_blob
from fleetcast.model.errors import Unavailable
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import ArtifactName, Digest, RegionName
from fleetcast.model.limits import SURPLUS_ASKED_MAX
from fleetcast.model.messages.regions import Surplus, SurplusJudged
from fleetcast.region.collecting import Collecting
from fleetcast.region.copy_turns import CopyTurns
from fleetcast.region.view import RegionView
from fleetcast.replication.copier import NOTES_PREFIX
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.sqlite_kv import SqliteKv

EU = RegionName("eu")
A, B, C = (Digest(letter * 64) for letter in "abc")


@dataclass
class Control:
    """Says what was collected."""

    collected: set[Digest] = field(default_factory=set)
    asked: list[Sequence[Digest]] = field(default_factory=list)
    away: bool = False

    async def surplus(self, surplus: Surplus) -> SurplusJudged:
        if self.away:
            raise Unavailable("away", "control is away")
        self.asked.append(surplus.digests)
        return SurplusJudged(tuple(digest for digest in surplus.digests if digest in self.collected))


@dataclass
class Region:
    control: Control
    store: SqliteKv
    bucket: DirectoryBlobs
    view: RegionView
    turns: CopyTurns
    collecting: Collecting

    async def hold(self, *digests: Digest) -> None:
        for digest in digests:
            await self.bucket.put(regional_manifest_blob(digest), b"m")
            await self.bucket.put(regional_content_blob(digest), b"c")

    async def record(self, *digests: Digest) -> None:
        for digest in digests:
            record = ArtifactRecord(ReleaseRef(ArtifactName(f"web/{digest}"), digest, digest), "{}", 1, 1)
            await self.store.put(artifact_record_key(digest), messages.encode(record))
        await self.view.load()

    async def held(self) -> set[str]:
        return {blob.key.split("/")[1][0] async for blob in self.bucket.list("artifacts/")}


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[Region]:
    store = await SqliteKv.open(tmp_path / "kv.db")
    bucket = DirectoryBlobs(tmp_path / "bucket", data_url="http://x", data_key=b"k" * 32)
    view, control, turns = RegionView(store), Control(), CopyTurns()
    yield Region(control, store, bucket, view, turns, Collecting(EU, control, view, bucket, store, turns))
    await store.close()


async def test_collected_copies_go_and_others_stay(region: Region) -> None:
    await region.hold(A, B, C)
    await region.record(C)
    region.control.collected = {A, C}
    await region.collecting.turn()

    assert await region.held() == {"b", "c"}
    # C is never asked about; and it says at once that A is gone.
    assert region.control.asked == [(A, B), ()]
    await region.collecting.turn()
    assert region.control.asked == [(A, B), (), (B,)]


async def test_what_a_copier_left_half_done_goes_too(region: Region) -> None:
    upload = await region.bucket.begin(regional_content_blob(A))
    await region.bucket.write_part(regional_content_blob(A), upload, 1, memoryview(b"half"))
    await region.store.put(NOTES_PREFIX + A, upload.encode())
    region.control.collected = {A}
    await region.collecting.turn()

    assert await region.bucket.uploads("artifacts/") == ()
    assert await region.store.get(NOTES_PREFIX + A) is None


@pytest.mark.parametrize("gone", [regional_content_blob(A), regional_manifest_blob(A)])
async def test_a_copy_that_is_half_deleted_goes(region: Region, gone: str) -> None:
    await region.hold(A)
    await region.bucket.delete(gone)
    region.control.collected = {A}
    await region.collecting.turn()

    assert await region.held() == set()


async def test_a_record_that_came_back_meanwhile_keeps_its_copy(region: Region) -> None:
    await region.hold(A)
    region.control.collected = {A}

    class ComesBack(Control):
        async def surplus(self, surplus: Surplus) -> SurplusJudged:
            await region.record(A)
            return SurplusJudged(surplus.digests)

    collecting = Collecting(EU, ComesBack(), region.view, region.bucket, region.store, region.turns)
    await collecting.turn()

    assert await region.held() == {"a"}


async def test_a_copy_under_way_is_left_alone_and_goes_later(region: Region) -> None:
    await region.hold(A)
    region.control.collected = {A}
    async with region.turns.copying(A):
        await region.collecting.turn()
        assert await region.held() == {"a"}
    await region.collecting.turn()
    assert await region.held() == set()


async def test_a_copy_begins_when_its_deletion_is_over(region: Region) -> None:
    begun = asyncio.Event()

    async def copy() -> None:
        async with region.turns.copying(A):
            begun.set()

    with region.turns.deleting(A) as alone:
        assert alone
        copying = asyncio.create_task(copy())
        await asyncio.sleep(0)
        assert not begun.is_set()
    await copying
    assert begun.is_set()


async def test_what_was_told_before_is_over_once_it_asks_again(region: Region) -> None:
    """A region that has nothing left says so, also after a start: somebody may wait for it."""
    region.control.away = True
    with pytest.raises(Unavailable):
        await region.collecting.turn()
    region.control.away = False
    await region.collecting.turn()
    await region.collecting.turn()

    assert region.control.asked == [()]


async def test_very_many_are_asked_about_in_several_questions(region: Region) -> None:
    many = [Digest(f"{number:064x}") for number in range(SURPLUS_ASKED_MAX + 3)]
    for digest in many:
        await region.bucket.put(regional_manifest_blob(digest), b"m")
    region.control.collected = set(many)
    await region.collecting.turn()

    assert await region.held() == set()
    assert max(map(len, region.control.asked)) == SURPLUS_ASKED_MAX


async def test_what_is_no_copy_is_not_asked_about(region: Region) -> None:
    await region.bucket.put("artifacts/readme", b"hello")
    await region.collecting.turn()

    assert region.control.asked == [()]
