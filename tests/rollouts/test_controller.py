"""Controllers that overlap, are slow, stop or die: nothing happens twice and nothing stops for good."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy import select, update

from fleetcast.model.build import Recipe
from fleetcast.model.deployment import DeploymentState as State
from fleetcast.model.errors import Conflict, Stale, Unavailable
from fleetcast.model.generation import Generation
from fleetcast.model.ids import ServiceName
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.rollouts.controller import RolloutController
from fleetcast.rollouts.deployments import Wanted, deployment_rows, end, list_deployments, move, newest_of_each, place_of
from fleetcast.rollouts.goals import read_standing, write_goal
from fleetcast.rollouts.planner import renewed
from fleetcast.rollouts.services import put_service
from fleetcast.schema.tables import deployments, goals
from fleetcast.stores.database import Database
from fleetcast.stores.kv import KeyValueStore
from paper_company import sha

if TYPE_CHECKING:
    from conftest import Company

WEB = ServiceName("web")


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + 10
    while not await true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


class Flaky:
    """A KV that cannot be reached for its first few writes."""

    def __init__(self, kv: KeyValueStore, failures: int) -> None:
        self._kv = kv
        self.failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kv, name)

    async def put(self, key: str, value: bytes, *, expected: int | None = None) -> int:
        if self.failures:
            self.failures -= 1
            raise Unavailable("kv_away", "the KV cannot be reached: try again")
        return await self._kv.put(key, value, expected=expected)


async def test_two_controllers_at_once_write_each_goal_once(company: Company) -> None:
    other = RolloutController(company.database, company.kv, company.queue)
    a = await company.deploy("a")
    await company.make("a")
    for _ in range(5):
        await asyncio.gather(company.controller.step(), other.step())
    goal = await company.goal()
    assert goal is not None
    assert goal.generation == Generation(0, 1)
    await company.everywhere(a)
    for _ in range(3):
        await asyncio.gather(company.controller.step(), other.step())
    goal = await company.goal()
    assert goal is not None
    assert goal.generation == Generation(0, 2)
    assert await company.state(a) is State.SUCCEEDED


async def test_one_deployment_that_cannot_go_on_holds_up_no_other_and_ends(company: Company) -> None:
    """Its service's goal cannot be read any more."""
    steady_s = 0.0
    company.controller = RolloutController(company.database, company.kv, company.queue, steady=lambda: steady_s)
    await company.succeed("a")
    async with company.database.transaction() as tx:
        await put_service(tx, ServiceSpec(ServiceName("api"), "/repo", recipe=Recipe(build="make", output="out")))
        await tx.execute(update(goals).where(goals.c.service == WEB).values(value="no goal"))
    api = (await company.triggers.deploy(DeployRequest(ServiceName("api"), sha("b")))).id
    await company.make("b")
    web = await company.deploy("c")
    await company.make("c")
    await company.step()
    assert await company.state(api) is State.DISTRIBUTING
    assert await company.state(web) is State.REPLICATING
    said = company.controller.obstacle
    assert said.startswith(f"deployment {web} cannot go on (DecodeError: ")
    assert said.endswith(": unless it does, it has FAILED after 30 min")
    steady_s = 1801.0
    await company.step()
    shown = await company.show(web)
    assert shown.state is State.FAILED
    assert shown.reason.startswith("control could not go on with it for 30 min: DecodeError: ")
    assert company.controller.obstacle == ""


async def test_a_claimed_deployment_is_left_to_its_controller_until_the_claim_expires(company: Company) -> None:
    a = await company.deploy("a")
    await company.step()
    await company.make("a")
    other = RolloutController(company.database, company.kv, company.queue)
    await other.step()
    assert await company.state(a) is State.BUILDING
    await company.passed(a, 60)
    await other.step()
    assert await company.state(a) is State.DISTRIBUTING
    await company.everywhere(a)
    await company.step()  # its claim is gone
    assert await company.state(a) is State.DISTRIBUTING
    await other.step()
    assert await company.state(a) is State.SUCCEEDED


async def test_what_a_killed_controller_had_claimed_is_its_successors_at_once(company: Company) -> None:
    def controller(place: str) -> RolloutController:
        return RolloutController(company.database, company.kv, company.queue, lease_s=1000, interval_s=0.02, place=place)

    killed = controller("here")
    a = await company.deploy("a")
    await killed.step()
    await company.make("a")
    for elsewhere in ("there", ""):
        another = controller(elsewhere)
        await another.inherit()
        await another.step()
        assert await company.state(a) is State.BUILDING, "its owner may live"

    stop = asyncio.Event()
    running = asyncio.create_task(controller("here").run(stop))

    async def has_come_to(state: State) -> bool:
        return await company.state(a) is state

    await _until(lambda: has_come_to(State.DISTRIBUTING))
    await company.everywhere(a)
    await killed.step()  # it lives after all: none of it is its own any more
    await _until(lambda: has_come_to(State.SUCCEEDED))
    stop.set()
    await running
    goal = await company.goal()
    assert goal is not None
    assert goal.generation == Generation(0, 2), "written once to set it going, once to settle"


async def test_a_controller_that_lost_its_claim_changes_nothing(company: Company) -> None:
    a = await company.deploy("a")
    await company.step()
    async with company.database.reading() as reading:
        read = (await reading.execute(deployment_rows().where(deployments.c.id == a))).one()
    async with company.database.transaction() as tx:
        await tx.execute(update(deployments).where(deployments.c.id == a).values(token="another"))
    before = await company.show(a)
    with pytest.raises(Stale):
        async with company.database.transaction() as tx:
            await move(tx, read, State.REPLICATING, reason="too late")
    with pytest.raises(Stale):
        async with company.database.transaction() as tx:
            await end(tx, read, State.FAILED, "too late")
    assert await company.show(a) == before


async def test_a_deployment_that_ended_never_changes_again(company: Company) -> None:
    a = await company.succeed("a")
    before = await company.show(a)
    async with company.database.reading() as reading:
        ended = (await reading.execute(select(deployments).where(deployments.c.id == a))).one()
    assert (ended.token, ended.claim_expires_at) == (None, None)
    await company.succeed("b")
    await company.active(a, {}, failed={"eu": 2, "us": 1})
    await company.passed(a, 0)
    await company.step()
    assert await company.show(a) == before


async def test_a_goal_is_written_over_the_one_that_was_read_or_not_at_all(company: Company) -> None:
    await company.succeed("a")
    async with company.database.transaction() as tx:
        standing = await read_standing(tx, WEB, "production")
    assert standing is not None
    assert standing.goal is not None
    now = standing.generation
    for generation, over in [
        (now, now),
        (Generation(now.epoch, now.counter - 1), now),
        (now.next().next(), now.next()),
        (now.next(), Generation(now.epoch, now.counter - 1)),
    ]:
        with pytest.raises(Conflict):
            async with company.database.transaction() as tx:
                await write_goal(tx, renewed(standing.goal, generation, 1), standing.goal_sequence, over=over)
    async with company.database.transaction() as tx:
        assert await read_standing(tx, standing.service, "production") == standing


async def test_the_loop_goes_all_the_way_and_lets_go_when_it_stops(company: Company) -> None:
    stop = asyncio.Event()
    controller = RolloutController(company.database, company.kv, company.queue, interval_s=60)
    loop = asyncio.create_task(controller.run(stop))
    a = await company.deploy("a")
    await company.make("a")
    controller.wake()

    async def distributing() -> bool:
        return await company.state(a) is State.DISTRIBUTING and await company.goal() is not None

    await _until(distributing)
    stop.set()
    await asyncio.wait_for(loop, 10)
    await company.everywhere(a)
    await company.step()  # another controller, at once
    assert await company.state(a) is State.SUCCEEDED


async def test_who_waits_for_news_is_told_after_they_are_published_and_only_then(company: Company) -> None:
    published: list[bool] = []

    def told() -> None:
        published.append(kv.puts > 0)

    class Counting(Flaky):
        puts = 0

        async def put(self, key: str, value: bytes, *, expected: int | None = None) -> int:
            self.puts += 1
            return await super().put(key, value, expected=expected)

    kv = Counting(company.kv, failures=0)
    controller = RolloutController(company.database, cast(KeyValueStore, kv), company.queue, on_step=told)
    a = await company.deploy("a")
    await company.make("a")
    await controller.step()
    assert await company.state(a) is State.DISTRIBUTING
    assert published == [True]
    await controller.step()
    assert published == [True]


async def test_the_loop_survives_a_store_that_is_away(company: Company) -> None:
    a = await company.deploy("a")
    await company.make("a")
    kv = Flaky(company.kv, failures=3)
    stop = asyncio.Event()
    loop = asyncio.create_task(
        RolloutController(company.database, cast(KeyValueStore, kv), company.queue, interval_s=0.01).run(stop)
    )

    async def written() -> bool:
        return await company.goal() is not None

    await _until(written)
    stop.set()
    await asyncio.wait_for(loop, 10)
    assert kv.failures == 0
    assert await company.state(a) is State.DISTRIBUTING


async def test_a_restarted_control_goes_on_from_the_tables(company: Company, database_url: str) -> None:
    a = await company.deploy("a")
    await company.make("a")
    await company.step()
    await company.everywhere(a)
    await company.passed(a, 60)  # the claim of the one that died has expired
    again = await Database.open(database_url)
    await RolloutController(again, company.kv, company.queue).step()
    await again.close()
    assert await company.state(a) is State.SUCCEEDED


async def test_lists_are_newest_first_and_one_for_each_service(company: Company) -> None:
    made = [await company.deploy(letter) for letter in "abc"]
    async with company.database.reading() as reading:
        newest = await list_deployments(reading, Wanted(service=ServiceName("web")), None, at_most=2)
        assert [one.id for one in newest] == [made[2], made[1]]
        rest = await list_deployments(reading, Wanted(environment="production"), place_of(newest[-1]), at_most=2)
        assert [one.id for one in rest] == [made[0]]
        assert await list_deployments(reading, Wanted(state=State.SUCCEEDED), None, at_most=2) == ()
        assert [one.id for one in await newest_of_each(reading)] == [made[2]]


async def test_there_is_one_key_for_service_and_environment(company: Company) -> None:
    await company.succeed("a")
    await company.succeed("b")
    assert [entry.key for entry in (await company.kv.range("goals/")).entries] == ["goals/production/web"]
