"""What is collected, and what becomes of those who want it at the same moment: real SQL, keys and blobs, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from fleetcast.builds.queue import BuildQueue
from fleetcast.model.artifact import artifact_record_key
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import Refused, Unavailable
from fleetcast.model.event import EventKind
from fleetcast.model.ids import ArtifactName, Digest, RegionName
from fleetcast.model.messages.artifacts import BuildRequest
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.push import OnPush
from fleetcast.model.retention import Collection
from fleetcast.retention.collection import Bounds
from fleetcast.retention.collector import Collector
from fleetcast.retention.pins import pin
from fleetcast.retention.planning import Policy
from fleetcast.retention.surplus import may_delete
from fleetcast.rollouts.removal import remove_service
from fleetcast.rollouts.triggers import Triggers
from fleetcast.schema.copy_tables import deletions
from fleetcast.schema.release_locks import lock_releases
from fleetcast.schema.tables import artifacts, deployments, events, releases
from fleetcast.stores.database import Database
from fleetcast.stores.directory_blobs import DirectoryBlobs
from lock_waits import until_somebody_waits

KEEP_ALL = Bounds(days=1e6, per_service=10**6, bytes=0, grace_s=0)
KEEP_NONE = replace(KEEP_ALL, per_service=0)
KEPT, COLLECTING, COLLECTED = Collection.KEPT, Collection.COLLECTING, Collection.COLLECTED
WEB, EU = "web", RegionName("eu")


@dataclass
class Keeping:
    """The company of this room with a main store whose blobs are there, and a collector."""

    company: Any
    main: DirectoryBlobs
    url: str

    def collector(self, *, main: Bounds = KEEP_ALL, regions: Bounds = KEEP_NONE, kv: Any = None) -> Collector:
        return Collector(self.company.database, kv or self.company.kv, self.main, Policy(main, regions))

    async def store(self) -> None:
        """Give every artifact that has none yet blobs of its own."""
        async with self.company.database.transaction() as tx:
            rows = (await tx.execute(select(artifacts).where(artifacts.c.content_blob == "c"))).all()
            for row in rows:
                named = {f"{blob}_blob": f"builds/{row.build_id}/1/{blob}" for blob in ("content", "manifest")}
                await tx.execute(update(artifacts).where(artifacts.c.id == row.id).values(named))
        for row in rows:
            for blob in ("content", "manifest"):
                await self.main.put(f"builds/{row.build_id}/1/{blob}", b"x")

    async def deployed(self, letters: str) -> None:
        for letter in letters:
            await self.company.succeed(letter)
        await self.store()

    async def state(self, letter: str) -> tuple[Collection, Collection]:
        """Of the regions' copies, and of the main store's."""
        digest = letter * 64
        async with self.company.database.reading() as reading:
            copies = await reading.execute(select(releases.c.collection).where(releases.c.digest == digest))
            blobs = await reading.execute(
                select(artifacts.c.collection).where(artifacts.c.digest == digest).order_by(artifacts.c.id)
            )
            return Collection(copies.scalar_one()), Collection(list(blobs.scalars())[-1])

    async def recorded(self) -> set[str]:
        """Commits of which the global store has a record."""
        held = (await self.company.kv.range(artifact_record_key(Digest("")))).entries
        async with self.company.database.reading() as reading:
            rows = (await reading.execute(select(artifacts.c.root, artifacts.c.digest))).all()
        return {row.digest[0] for row in rows if any(entry.key.endswith(row.root) for entry in held)}

    async def blobs(self) -> set[str]:
        """Commits of which the main store has a blob."""
        keys = {blob.key async for blob in self.main.list("builds/")}
        async with self.company.database.reading() as reading:
            rows = (await reading.execute(select(artifacts))).all()
        return {row.digest[0] for row in rows if keys & {row.content_blob, row.manifest_blob}}

    async def name(self, letter: str) -> ArtifactName:
        async with self.company.database.reading() as reading:
            found = await reading.execute(select(artifacts.c.name).where(artifacts.c.digest == letter * 64))
            return ArtifactName(found.scalars().first())


@pytest.fixture
async def keeping(company: Any, tmp_path: Path, database_url: str) -> Keeping:
    return Keeping(company, DirectoryBlobs(tmp_path / "main", data_url="http://x", data_key=b"k" * 32), database_url)


@pytest.fixture
async def elsewhere(database_url: str) -> AsyncIterator[Database]:
    """The same database, from another control process."""
    database = await Database.open(database_url)
    yield database
    await database.close()


async def test_what_nobody_needs_leaves_the_regions_and_what_law_5_keeps_does_not(keeping: Keeping) -> None:
    await keeping.deployed("abcdef")
    collector = keeping.collector()
    decided = await collector.decide()

    # f is goal and baseline, e was before it, d and c are the last two beside these that succeeded.
    assert {planned.stored.held.digest[0] for planned in decided.regions} == {"a", "b"}
    assert decided.main == ()
    assert await keeping.state("a") == (COLLECTING, KEPT)
    assert await keeping.recorded() == set("abcdef")
    await collector.finish()

    assert await keeping.state("a") == (COLLECTED, KEPT)
    assert await keeping.state("c") == (KEPT, KEPT)
    assert await keeping.recorded() == set("cdef")
    async with keeping.company.database.reading() as reading:
        release = (await reading.execute(select(releases).where(releases.c.digest == "a" * 64))).one()
        told = select(events).where(events.c.kind == EventKind.ARTIFACT_COLLECTED).order_by(events.c.subject)
        found = (await reading.execute(told)).all()
    assert (release.deployable, release.completed_at) == (False, None)
    assert [event.subject for event in found] == [await keeping.name("a"), await keeping.name("b")]
    assert found[0].service == WEB
    assert found[0].text == "from the regions: more than 0 of web are there that nobody needs"
    assert (await collector.decide()).regions == ()


async def test_the_main_store_is_emptied_of_what_its_own_bounds_say(keeping: Keeping) -> None:
    await keeping.deployed("abcdef")
    collector = keeping.collector(main=KEEP_NONE)
    await collector.decide()
    await collector.finish()

    assert await keeping.state("a") == (COLLECTED, COLLECTED)
    assert await keeping.blobs() == set("cdef")


async def test_pinned_and_in_flight_and_young_ones_stay(keeping: Keeping) -> None:
    await keeping.deployed("abcdef")
    async with keeping.company.database.transaction() as tx:
        await pin(tx, await keeping.name("a"), pinned=True)
    going_back = await keeping.company.deploy("b")
    collector = keeping.collector(main=KEEP_NONE)
    why = {planned.stored.held.digest[0]: planned.main.reason for planned in await collector.plan()}

    assert (why["a"], why["b"]) == ("it is pinned", f"deployment {going_back} is REPLICATING")
    assert (await collector.decide()).main == ()
    await keeping.company.triggers.abort(going_back)
    async with keeping.company.database.transaction() as tx:
        await pin(tx, await keeping.name("a"), pinned=False)
    young = replace(KEEP_NONE, grace_s=3600.0)
    assert (await keeping.collector(main=young, regions=young).decide()).main == ()
    assert {planned.stored.held.digest[0] for planned in (await collector.decide()).main} == {"a", "b"}


async def test_the_artifact_of_a_build_that_a_deployment_still_waits_for_stays(keeping: Keeping) -> None:
    """The build is done, and no controller has looked since."""
    await keeping.company.deploy("a")
    await keeping.company.claim()
    await keeping.company.finish("a")

    (planned,) = await keeping.collector(main=KEEP_NONE).plan()
    assert not planned.goes
    assert "is BUILDING" in planned.main.reason


async def test_a_removed_service_keeps_nothing(keeping: Keeping) -> None:
    await keeping.deployed("ab")
    async with keeping.company.database.transaction() as tx:
        await remove_service(tx, WEB, goal_lifetime_s=60)
    collector = keeping.collector(main=KEEP_NONE)
    await collector.decide()
    await collector.finish()

    assert (await keeping.blobs(), await keeping.recorded()) == (set(), set())


# Deployed again


async def test_collected_copies_are_made_again_from_the_main_store(keeping: Keeping) -> None:
    await keeping.deployed("abcdef")
    collector = keeping.collector()
    await collector.decide()
    again = await keeping.company.deploy("a")
    await keeping.company.step()

    # The records are still being taken away: that ends first, and nothing counts on copies meanwhile.
    assert await keeping.state("a") == (COLLECTING, KEPT)
    assert await keeping.company.state(again) is DeploymentState.REPLICATING
    await collector.finish()
    assert await keeping.recorded() == set("cdef")
    await keeping.company.step()
    assert await keeping.state("a") == (KEPT, KEPT)
    assert await keeping.recorded() == set("acdef")
    await collector.finish()
    assert await keeping.recorded() == set("acdef")
    assert await keeping.company.state(again) is DeploymentState.REPLICATING
    await keeping.company.replicate("a")
    await keeping.company.step()
    assert await keeping.company.state(again) is DeploymentState.DISTRIBUTING


async def test_what_left_the_main_store_is_built_again_when_somebody_says_so(keeping: Keeping) -> None:
    await keeping.deployed("abcdef")
    collector = keeping.collector(main=KEEP_NONE)
    await collector.decide()
    commit = "a" * 40

    with pytest.raises(Refused, match=f"fleetcast deploy web@{commit} --rebuild builds it again") as refused:
        await keeping.company.deploy("a")
    assert refused.value.code == "artifact_collected"
    with pytest.raises(Refused, match=r"was collected .more than 0 of web.* fleetcast deploy"):
        await keeping.company.rollback("a")
    with pytest.raises(Refused, match=f"fleetcast build web@{commit} --rebuild"):
        await keeping.company.triggers.build(BuildRequest(WEB, commit))
    with pytest.raises(Refused, match="was collected"):
        async with keeping.company.database.transaction() as tx:
            await pin(tx, await keeping.name("a"), pinned=True)

    await collector.finish()
    again = await keeping.company.deploy("a", rebuild=True)
    await keeping.company.make("a")
    await keeping.store()
    await keeping.company.step()
    await collector.finish()
    assert await keeping.company.state(again) is DeploymentState.DISTRIBUTING
    assert await keeping.blobs() == set("acdef")
    assert await keeping.state("a") == (KEPT, KEPT)


async def test_a_push_builds_again_what_was_collected(keeping: Keeping) -> None:
    await keeping.deployed("abcdef")
    await keeping.collector(main=KEEP_NONE).decide()
    async with keeping.company.database.transaction() as tx:
        await keeping.company.triggers.order(tx, WEB, "a" * 40, OnPush.DEPLOY)

    assert (await keeping.company.claim()).build.name == f"web/{'a' * 40}.2"


# At the same moment


async def _first(
    held: Database, first: Callable[[Any], Awaitable[object]], second: Awaitable[object], postgresql: bool
) -> None:
    """``first`` decides with the release locked; ``second`` comes from another process and has to wait until that is over."""
    async with held.transaction() as tx:
        await lock_releases(tx, [Digest("a" * 64)])
        waiting = asyncio.ensure_future(second)
        if postgresql:
            await until_somebody_waits(held)
        else:
            await asyncio.sleep(0)
        await first(tx)
        assert not waiting.done()
    await waiting


async def test_what_is_being_deployed_is_not_collected(keeping: Keeping, elsewhere: Database) -> None:
    await keeping.deployed("abcdef")
    theirs = Triggers(elsewhere, BuildQueue(elsewhere, keeping.company.queue._limits))
    collector = keeping.collector(main=KEEP_NONE)
    decided: list[Any] = []

    async def decide() -> None:
        decided.append(await collector.decide())

    async def deploy(tx: Any) -> None:
        await theirs._deploy(tx, DeployRequest(WEB, "a" * 40), "a" * 40)

    await _first(elsewhere, deploy, decide(), keeping.url.startswith("postgresql"))
    assert {planned.stored.held.digest[0] for planned in decided[0].main} == {"b"}
    assert await keeping.state("a") == (KEPT, KEPT)


async def test_what_is_being_collected_is_not_deployed(keeping: Keeping, elsewhere: Database) -> None:
    await keeping.deployed("abcdef")
    theirs = Triggers(elsewhere, BuildQueue(elsewhere, keeping.company.queue._limits))
    collector = keeping.collector(main=KEEP_NONE)
    batch = [planned for planned in await collector.plan() if planned.goes]

    async def deploy() -> None:
        with pytest.raises(Refused, match="was collected"):
            await theirs.deploy(DeployRequest(WEB, "a" * 40))

    async def collect(tx: Any) -> None:
        await collector._decide(tx, batch)

    await _first(keeping.company.database, collect, deploy(), keeping.url.startswith("postgresql"))
    assert await keeping.state("a") == (COLLECTING, COLLECTING)
    async with elsewhere.reading() as reading:
        wanted = select(deployments.c.id).where(deployments.c.commit_sha == "a" * 40, deployments.c.state == "REPLICATING")
        assert (await reading.execute(wanted)).all() == []


@pytest.mark.parametrize("turn", range(5))
async def test_deploying_and_collecting_at_once_ends_well_whoever_is_first(
    keeping: Keeping, elsewhere: Database, turn: int
) -> None:
    """Several collectors and a person, none of whom waits for the others."""
    await keeping.deployed("abcdef")
    theirs = Collector(elsewhere, keeping.company.kv, keeping.main, Policy(KEEP_NONE, KEEP_NONE))
    collectors = (keeping.collector(main=KEEP_NONE), theirs)
    refusals: list[str] = []

    async def person() -> bool:
        for _ in range(turn):
            await asyncio.sleep(0.002)
        try:
            await keeping.company.deploy("a")
        except Refused as refused:
            refusals.append(refused.code)
        return not refusals

    async def collect(collector: Collector) -> None:
        for _ in range(2):
            await collector.decide()
            await collector.finish()

    deployed, *_ = await asyncio.gather(person(), *map(collect, collectors))
    await keeping.company.step()
    kept = {"a"} if deployed else set()
    assert refusals == [] if deployed else ["artifact_collected"]
    assert await keeping.blobs() == kept | set("cdef")
    assert await keeping.recorded() == kept | set("cdef")
    assert (await keeping.state("a"))[1] is (KEPT if deployed else COLLECTED)


# Dying in between


class Frail:
    """A door behind which things go wrong after so many calls of one operation."""

    def __init__(self, door: Any, operation: str, good: int) -> None:
        self._door = door
        self._operation = operation
        self._good = good

    def __getattr__(self, name: str) -> Any:
        if name != self._operation:
            return getattr(self._door, name)
        self._good -= 1
        if self._good < 0:
            raise Unavailable("gone", "it is away")
        return getattr(self._door, name)


@pytest.mark.parametrize("deleted", range(4))
async def test_blobs_half_deleted_end_deleted(keeping: Keeping, deleted: int) -> None:
    await keeping.deployed("abcdef")
    await keeping.collector(main=KEEP_NONE).decide()
    dying = Collector(
        keeping.company.database, keeping.company.kv, Frail(keeping.main, "delete", deleted), Policy(KEEP_NONE, KEEP_NONE)
    )
    with pytest.raises(Unavailable):
        await dying.finish()
    assert await keeping.state("b") == (COLLECTED, COLLECTING)

    await keeping.collector(main=KEEP_NONE).finish()
    assert await keeping.blobs() == set("cdef")
    assert (await keeping.state("a"), await keeping.state("b")) == ((COLLECTED, COLLECTED),) * 2


@pytest.mark.parametrize("deleted", range(2))
async def test_records_half_taken_away_end_taken_away(keeping: Keeping, deleted: int) -> None:
    await keeping.deployed("abcdef")
    await keeping.collector().decide()
    with pytest.raises(Unavailable):
        await keeping.collector(kv=Frail(keeping.company.kv, "delete", deleted)).finish()
    assert await keeping.state("a") == (COLLECTING, KEPT)

    await keeping.collector().finish()
    assert await keeping.recorded() == set("cdef")
    assert await keeping.state("a") == (COLLECTED, KEPT)


async def test_a_record_that_a_stopped_process_wrote_again_goes_again(keeping: Keeping) -> None:
    """It read the row before the copies were collected, was stopped, and wrote the record after that."""
    await keeping.deployed("abcdef")
    key = artifact_record_key(Digest(await _root(keeping, "a")))
    entry = await keeping.company.kv.get(key)
    collector = keeping.collector()
    await collector.decide()
    await collector.finish()
    await keeping.company.kv.put(key, entry.value)
    assert "a" in await keeping.recorded()

    assert (await collector.decide()).regions == ()
    await collector.finish()
    assert await keeping.recorded() == set("cdef")
    assert await keeping.state("a") == (COLLECTED, KEPT)


async def _root(keeping: Keeping, letter: str) -> str:
    async with keeping.company.database.reading() as reading:
        found = await reading.execute(select(artifacts.c.root).where(artifacts.c.digest == letter * 64))
        return str(found.scalar_one())


# Equal files


async def test_blobs_that_another_artifact_names_too_stay(keeping: Keeping) -> None:
    await keeping.deployed("abcdef")
    async with keeping.company.database.transaction() as tx:
        row = (await tx.execute(select(artifacts).where(artifacts.c.digest == "a" * 64))).one()
        twin = {**row._mapping, "id": None, "name": "api/x", "service": "api", "build_id": 99, "root": "e" * 64}
        await tx.execute(update(artifacts).where(artifacts.c.id == row.id).values(collection=COLLECTING))
        await tx.execute(insert(artifacts).values({key: value for key, value in twin.items() if key != "id"}))
    await keeping.collector().finish()

    assert await keeping.blobs() == set("abcdef")


# What regions may delete


async def _may_delete(keeping: Keeping, *letters: str) -> list[str]:
    async with keeping.company.database.transaction() as tx:
        return [digest[0] for digest in await may_delete(tx, EU, [Digest(letter * 64) for letter in letters])]


async def test_a_region_may_delete_what_was_collected_and_nothing_else(keeping: Keeping) -> None:
    await keeping.deployed("abcdef")
    collector = keeping.collector()
    assert await _may_delete(keeping, "a", "b", "c", "9") == []
    await collector.decide()
    assert await _may_delete(keeping, "a", "b", "c", "9") == []
    await collector.finish()
    assert await _may_delete(keeping, "a", "b", "c", "9") == ["a", "b"]
    async with keeping.company.database.reading() as reading:
        open_now = (await reading.execute(select(deletions.c.digest).order_by(deletions.c.digest))).scalars().all()
    assert [digest[0] for digest in open_now] == ["a", "b"]

    await keeping.company.deploy("a")
    assert await _may_delete(keeping, "a", "b") == ["b"]
    await keeping.company.step()
    assert await _may_delete(keeping, "a") == []
    async with keeping.company.database.reading() as reading:
        assert (await reading.execute(select(deletions))).all() == []


async def test_law_5_reads_back_as_far_as_it_takes(keeping: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same release deployed over and over stands before the others in the history."""
    monkeypatch.setattr("fleetcast.retention.facts._LOOKED_AT", 2)
    await keeping.deployed("abcd")
    for _ in range(5):
        again = await keeping.company.deploy("e")
        if await keeping.company.state(again) is DeploymentState.BUILDING:
            await keeping.company.make("e")
        await keeping.company.step()
        await keeping.company.everywhere(again)
        await keeping.company.step()

    decided = await keeping.collector().decide()
    assert {planned.stored.held.digest[0] for planned in decided.regions} == {"a"}
