"""A region that says nothing is waited for by nobody, and catches up before it counts again: over real buckets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from fleetcast.control.fleet_queries import silence_alarm
from fleetcast.control.silence import Silence
from fleetcast.model.artifact import regional_content_blob, regional_manifest_blob
from fleetcast.model.ids import Digest, RegionName
from fleetcast.model.messages.regions import RegionHello, RegionReport
from fleetcast.replication.status import ReplicationStatus
from fleetcast.rollouts import inventory
from fleetcast.rollouts.intake import record_hello, record_report
from fleetcast.schema.tables import artifacts, releases
from fleetcast.stores.database import Database
from fleetcast.stores.directory_blobs import DirectoryBlobs

EU, US, AP = RegionName("eu"), RegionName("us"), RegionName("ap")
OLD, NEW = Digest("a" * 64), Digest("b" * 64)
SILENCE_S, INTERVAL_S = 300.0, 5.0


@dataclass
class World:
    database: Database
    buckets: dict[RegionName, DirectoryBlobs]
    silence: Silence
    changes: list[float]
    now: float = 0.0

    async def publish(self, digest: Digest) -> None:
        async with self.database.transaction() as tx:
            row = {"name": f"web/{digest}", "service": "web", "commit_sha": digest[:40], "build_number": 1, "attempt": 1}
            row |= {"build_id": int(digest[0], 16), "trunk": "", "digest": digest, "root": digest, "envelope": "{}"}
            row |= {"manifest_size": 1, "content_size": 1, "manifest_blob": "m", "content_blob": "c", "created_at": 1}
            await tx.execute(insert(artifacts).values(**row, published_at=1))

    async def copy(self, region: RegionName, digest: Digest) -> None:
        for key in (regional_manifest_blob(digest), regional_content_blob(digest)):
            await self.buckets[region].put(key, b"x")

    async def say(self, region: RegionName) -> None:
        await record_report(self.database, RegionReport(region, (), (), ()))

    async def turns(self, seconds: float, *speaking: RegionName) -> None:
        """Control looks at its interval; who speaks reports before each look."""
        end = self.now + seconds
        while self.now < end:
            self.now += INTERVAL_S
            for region in speaking:
                await self.say(region)
            await self.silence.turn()

    async def region(self, name: RegionName) -> inventory.Region:
        async with self.database.reading() as reading:
            return await inventory.known_region(reading, name)

    async def deployable(self) -> set[Digest]:
        async with self.database.reading() as reading:
            rows = await reading.execute(select(releases.c.digest).where(releases.c.deployable))
            return {Digest(digest) for digest in rows.scalars()}


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    database = await Database.open(database_url)
    buckets = {region: DirectoryBlobs(tmp_path / region, data_url="http://x", data_key=b"k" * 32) for region in (EU, US, AP)}
    status = ReplicationStatus(database, buckets.get)
    changes: list[float] = []
    silence = Silence(
        database, status, SILENCE_S, INTERVAL_S, on_change=lambda: changes.append(there.now), steady=lambda: there.now
    )
    there = World(database, buckets, silence, changes)
    for region in (EU, US):
        await record_hello(database, RegionHello(region, f"http://{region}", "00"))
    await there.publish(OLD)
    yield there
    await database.close()


async def test_nothing_waits_for_it_and_it_catches_up_before_it_counts(world: World) -> None:
    for region in (EU, US):
        await world.copy(region, OLD)
    await world.turns(10, EU, US)
    await world.publish(NEW)
    await world.copy(EU, NEW)
    await world.turns(SILENCE_S - INTERVAL_S, EU)
    assert await world.deployable() == {OLD}, "us may be back at any moment"
    await world.turns(INTERVAL_S, EU)
    away = await world.region(US)
    assert silence_alarm(away) == "region us says nothing: nothing waits for it until it is back and has caught up"
    assert await world.deployable() == {OLD, NEW}
    assert world.changes

    await world.turns(60, EU, US)
    assert silence_alarm(await world.region(US)) == ("region us catches up: nothing waits for it until it has every release")
    assert await world.deployable() == {OLD, NEW}, "what is a release stays one"
    await world.copy(US, NEW)
    await world.turns(INTERVAL_S, EU, US)
    back = await world.region(US)
    assert (back.drained, silence_alarm(back)) == (False, "")


async def test_a_control_that_hears_nobody_drains_nobody(world: World) -> None:
    await world.turns(3 * SILENCE_S)
    assert not (await world.region(EU)).drained
    assert not (await world.region(US)).drained


async def test_one_that_falls_silent_again_before_it_has_caught_up_is_away_again(world: World) -> None:
    await world.copy(EU, OLD)
    await world.turns(SILENCE_S + 2 * INTERVAL_S, EU)
    await world.turns(INTERVAL_S, EU, US)
    assert (await world.region(US)).returned
    await world.turns(SILENCE_S + INTERVAL_S, EU)
    assert not (await world.region(US)).returned
    await world.copy(US, OLD)
    await world.turns(INTERVAL_S, EU)
    assert (await world.region(US)).drained, "its bucket has everything, and nobody hears of it"
    await world.turns(INTERVAL_S, EU, US)
    assert not (await world.region(US)).drained


async def test_a_new_region_catches_up_before_anything_waits_for_it(world: World) -> None:
    for region in (EU, US):
        await world.copy(region, OLD)
    await world.turns(10, EU, US)
    await record_hello(world.database, RegionHello(AP, "http://ap", "00"))
    await world.publish(NEW)
    for region in (EU, US):
        await world.copy(region, NEW)
    await world.turns(10, EU, US, AP)
    assert await world.deployable() == {OLD, NEW}, "what is in the regions there were can be deployed meanwhile"
    assert silence_alarm(await world.region(AP)) == "region ap catches up: nothing waits for it until it has every release"

    await world.copy(AP, OLD)
    await world.turns(INTERVAL_S, EU, US, AP)
    assert not (await world.region(AP)).drained, "it has what was a release when it joined"


async def test_a_region_counts_at_once_where_there_is_no_release_yet(world: World) -> None:
    await record_hello(world.database, RegionHello(AP, "http://ap", "00"))
    for region in (EU, US):
        await world.copy(region, OLD)
    await world.turns(10, EU, US, AP)
    assert await world.deployable() == set()
