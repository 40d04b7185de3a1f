"""From SQL into the global KV, whatever the KV held before."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import select, update

from fleetcast.model.artifact import ArtifactRecord, artifact_record_key, goal_key
from fleetcast.model.build import Recipe
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal
from fleetcast.model.ids import Digest, ServiceName
from fleetcast.model.limits import GOAL_LIFETIME_S
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.retention.pins import pin
from fleetcast.rollouts.controller import RolloutController
from fleetcast.rollouts.goals import mint_sequence, read_standing, write_goal
from fleetcast.rollouts.publishing import Publisher
from fleetcast.rollouts.services import put_service
from fleetcast.schema.tables import artifacts, goals
from fleetcast.stores.database import Database
from fleetcast.stores.sqlite_kv import SqliteKv

if TYPE_CHECKING:
    from conftest import Company

pytestmark = pytest.mark.one_engine
KEY = "goals/production/web"
API = "goals/production/api"


async def test_a_region_never_sees_a_goal_before_the_artifact_it_names(company: Company) -> None:
    await company.deploy("a")
    await company.make("a")
    await company.step()
    changes = (await company.kv.changes("", 0)).changes
    assert [change.key.split("/")[0] for change in changes] == ["artifacts", "goals"]
    goal = await company.goal()
    assert goal is not None
    entry = await company.kv.get(artifact_record_key(goal.target.root))
    assert entry is not None
    record = msgspec.json.decode(entry.value, type=ArtifactRecord)
    assert (record.release, record.content_size, record.manifest_size) == (goal.target, 1000, 10)


async def test_an_artifact_is_published_as_soon_as_it_exists_and_only_when_wanted(company: Company) -> None:
    a = await company.deploy("a")
    await company.build("a")
    await company.triggers.abort(a)
    await company.claim()
    await company.finish("a")
    await company.step()
    assert (await company.kv.range("")).entries == ()
    await company.deploy("a")
    await company.step()
    assert [entry.key[:10] for entry in (await company.kv.range("")).entries] == ["artifacts/"]


async def test_nothing_is_written_while_nothing_changes(company: Company) -> None:
    await company.succeed("a")
    before = (await company.kv.range("")).revision
    for _ in range(3):
        await company.step()
    assert (await company.kv.range("")).revision == before


async def test_a_lost_kv_is_written_again_as_it_was(company: Company, tmp_path: Path) -> None:
    await company.succeed("a")
    await company.succeed("b")
    before = {entry.key: entry.value for entry in (await company.kv.range("")).entries}
    empty = await SqliteKv.open(tmp_path / "new.db")
    await Publisher(company.database, empty).restore()
    after = {entry.key: entry.value for entry in (await empty.range("")).entries}
    await empty.close()
    assert len(before) == 3
    assert after == before


async def test_a_goal_that_was_decided_and_not_published_is_published_unchanged(company: Company, tmp_path: Path) -> None:
    """The process died between its transaction and the write to the KV."""
    await company.deploy("a")
    await company.make("a")
    other = await SqliteKv.open(tmp_path / "elsewhere.db")
    dying = RolloutController(company.database, other, company.queue)
    await dying.step()
    decided = await other.get(KEY)
    await other.close()
    assert decided is not None
    async with company.database.transaction() as tx:
        await tx.execute(update(goals).values(published=False))
    await company.step()
    written = await company.kv.get(KEY)
    assert written is not None
    assert written.value == decided.value


async def test_after_a_restored_backup_the_goal_is_written_in_a_new_epoch(company: Company, tmp_path: Path) -> None:
    await company.succeed("a")
    async with company.database.transaction():  # nobody writes while the files are copied
        for name in ("fleetcast.db", "fleetcast.db-wal"):
            shutil.copy(tmp_path / name, tmp_path / f"backup-{name.removeprefix('fleetcast.db')}")
    (tmp_path / "backup-").rename(tmp_path / "backup.db")
    (tmp_path / "backup--wal").rename(tmp_path / "backup.db-wal")
    before = await company.goal()
    await company.succeed("b")
    lost = await company.goal()
    assert before is not None
    assert lost is not None

    restored = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'backup.db'}")
    start_ms = int(time.time() * 1000)
    await Publisher(restored, company.kv).restore()
    now = await company.goal()
    assert now is not None
    assert now.generation > lost.generation
    assert now.generation.epoch >= start_ms - 1000
    assert (now.target, now.deployment) == (before.target, before.deployment)
    revision = (await company.kv.range("")).revision
    await Publisher(restored, company.kv).restore()
    assert (await company.kv.range("")).revision == revision
    await restored.close()


async def test_the_same_generation_with_other_content_is_overtaken(company: Company) -> None:
    await company.succeed("a")
    goal = await company.goal()
    assert goal is not None
    await company.kv.put(KEY, msgspec.json.encode(dataclasses.replace(goal, rollback=True)))
    await Publisher(company.database, company.kv).restore()
    now = await company.goal()
    assert now is not None
    assert now.generation > goal.generation
    assert (now.rollback, now.target) == (False, goal.target)


async def test_goals_are_renewed_at_half_of_their_life(company: Company) -> None:
    await company.succeed("a")
    before = await company.goal()
    publisher = Publisher(company.database, company.kv)
    await publisher.renew(GOAL_LIFETIME_S)  # it has just been written
    assert before is not None
    assert await company.goal() == before
    async with company.database.transaction() as tx:
        await tx.execute(update(goals).values(expires_at=goals.c.expires_at - 13 * 3600 * 1000))
    await company.step()
    after = await company.goal()
    assert after is not None
    assert after.generation == before.generation.next()
    assert (after.target, after.baseline, after.cohorts) == (before.target, before.baseline, before.cohorts)
    assert after.expires_at_ms >= before.expires_at_ms
    await company.succeed("b")


BAD = [b"{", b'{"generation":7}', b"\xff"]


@pytest.mark.parametrize("bad", BAD)
async def test_a_goal_in_the_kv_that_cannot_be_read_is_named_and_holds_up_no_other(company: Company, bad: bytes) -> None:
    await _two_services(company)
    held = await company.kv.put("goals/production/api", bad)
    async with company.database.transaction() as tx:
        await tx.execute(update(goals).values(expires_at=goals.c.expires_at - 13 * 3600 * 1000))
    before = await company.goal()
    await company.step()
    after = await company.goal()
    assert before is not None
    assert after is not None
    assert after.generation == before.generation.next(), "renewed, and published"
    left = await company.kv.get("goals/production/api")
    assert left is not None
    assert (left.value, left.mod_revision) == (bad, held)
    said = company.controller.obstacle
    assert said.startswith("goals/production/api is left as it is (what the key-value store holds is no goal: ")
    assert "delete the key goals/production/api" in said
    await Publisher(company.database, company.kv).restore()  # a process that starts goes on, too

    await company.kv.delete("goals/production/api", expected=held)
    await company.step()
    again = await company.kv.get("goals/production/api")
    assert again is not None
    assert msgspec.json.decode(again.value, type=Goal).service == "api"
    assert company.controller.obstacle == ""


@pytest.mark.parametrize("bad", BAD)
async def test_a_settled_goal_that_cannot_be_read_is_named_for_as_long_as_it_is_there(company: Company, bad: bytes) -> None:
    """It was published, it is not due to be renewed, and nobody deploys: only a process that starts looks at it."""
    await _two_services(company)
    before = {key: await company.kv.get(key) for key in (KEY, API)}
    revisions = {key: await company.kv.put(key, bad) for key in before}
    await Publisher(company.database, company.kv).restore()
    for _ in range(2):
        await company.step()
        said = company.controller.obstacle
        assert said.startswith(f"{API} is left as it is (what the key-value store holds is no goal: ")
        assert said.endswith("; so is 1 more")

    for key, entry in before.items():
        await company.kv.delete(key, expected=revisions[key])
        await company.step()
        again = await company.kv.get(key)
        assert entry is not None
        assert again is not None
        assert again.value == entry.value
    assert company.controller.obstacle == ""


async def test_what_to_do_about_an_unreadable_goal_is_told_whole_however_long_its_names_are(company: Company) -> None:
    service, environment = ServiceName("s" * 63), "e" * 63
    key = goal_key(environment, service)
    await company.succeed("a")
    await company.kv.put(key, b"{" * 500)
    await _beside_web(company, service, environment)
    await company.step()
    assert f"delete the key {key} in the global key-value store, and it is written again" in company.controller.obstacle


async def test_a_goal_in_the_database_that_cannot_be_read_is_named_and_holds_up_no_other(company: Company) -> None:
    await _two_services(company)
    async with company.database.transaction() as tx:
        await tx.execute(update(goals).values(expires_at=0))
        await tx.execute(update(goals).where(goals.c.service == "api").values(value="{"))
    before = await company.goal()
    await company.step()
    after = await company.goal()
    assert before is not None
    assert after is not None
    assert after.generation == before.generation.next()
    assert company.controller.obstacle.startswith("goals/production/api is left as it is (the database's row: ")


async def _two_services(company: Company) -> None:
    await company.succeed("a")
    await _beside_web(company, ServiceName("api"), "production")
    await company.step()


async def _beside_web(company: Company, service: ServiceName, environment: str) -> None:
    """Another service, whose goal is that of ``web`` under its name; it is not published yet."""
    goal = await company.goal()
    assert goal is not None
    async with company.database.transaction() as tx:
        await put_service(tx, ServiceSpec(service, "/repo", recipe=Recipe(build="make", output="out")))
        await mint_sequence(tx, service, environment)
        standing = await read_standing(tx, service, environment)
        assert standing is not None
        await write_goal(tx, dataclasses.replace(goal, service=service, environment=environment), 1, standing.generation)


async def test_publishers_at_once_agree(company: Company) -> None:
    await company.succeed("a")
    async with company.database.transaction() as tx:
        await tx.execute(update(goals).values(expires_at=0, published=False))
    publishers = [Publisher(company.database, company.kv) for _ in range(4)]

    async def all_of_it(publisher: Publisher) -> None:
        await publisher.renew(3600)
        await publisher.publish()

    await asyncio.gather(*(all_of_it(one) for one in publishers))
    goal = await company.goal()
    assert goal is not None
    assert goal.generation == Generation(0, 3)
    async with company.database.reading() as reading:
        row = (await reading.execute(goals.select())).one()
    assert row.published
    assert msgspec.json.decode(row.value, type=Goal) == goal


@pytest.mark.parametrize("letters", ["ab", "abc"])
async def test_generations_in_the_kv_only_grow(company: Company, letters: str) -> None:
    seen = []
    for letter in letters:
        await company.succeed(letter)
    back = await company.rollback()
    await company.step()
    await company.everywhere(back)
    await company.step()
    revision = 0
    while changes := (await company.kv.changes("goals/", revision)).changes:
        seen += [msgspec.json.decode(change.value, type=Goal).generation for change in changes if change.value is not None]
        revision = changes[-1].mod_revision
    assert seen == sorted(set(seen))


async def test_a_goal_names_what_was_pinned_when_it_was_written(company: Company) -> None:
    """So machines keep it: what a machine may forget of a service is decided by nothing but its goals."""

    async def told() -> list[tuple[Digest, ...]]:
        goal = await company.goal()
        assert goal is not None
        return [goal.pinned, (goal.target.digest,)]

    await company.succeed("a")
    nothing, first = await told()
    async with company.database.transaction() as tx:
        name = (await tx.execute(select(artifacts.c.name))).scalar_one()
        await pin(tx, name, pinned=True)
    await company.succeed("b")
    assert (nothing, await told()) == ((), [first, (await told())[1]])
    async with company.database.transaction() as tx:
        await pin(tx, name, pinned=False)
    await company.succeed("c")
    assert (await told())[0] == ()
