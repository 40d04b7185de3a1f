"""Services that are removed, and come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import NotFound, Refused
from fleetcast.model.goal import Goal
from fleetcast.model.ids import ServiceName
from fleetcast.model.limits import TOMBSTONE_S
from fleetcast.model.machine import Selector
from fleetcast.model.messages.services import ServiceRemoved, ServiceSpec
from fleetcast.rollouts.deployments import Wanted, list_deployments, newest_of_each
from fleetcast.rollouts.publishing import Publisher
from fleetcast.rollouts.removal import remove_service
from fleetcast.rollouts.services import get_service, list_services, put_service
from fleetcast.schema.tables import goals, services

if TYPE_CHECKING:
    from conftest import Company

WEB = ServiceName("web")


async def remove(company: Company) -> ServiceRemoved:
    async with company.database.transaction() as tx:
        gone = await remove_service(tx, WEB, goal_lifetime_s=3600)
    await company.step()
    return gone


async def bring_back(company: Company, selector: Selector | None = None) -> None:
    async with company.database.transaction() as tx:
        await put_service(tx, ServiceSpec(WEB, "/repo", selector=selector or Selector()))


async def wanted(company: Company) -> Goal:
    goal = await company.goal()
    assert goal is not None
    return goal


async def test_a_tombstone_of_a_higher_generation_reaches_every_machine(company: Company) -> None:
    await bring_back(company, Selector(zones=("",)))
    await company.succeed("a")
    before = await wanted(company)
    gone = await remove(company)
    after = await wanted(company)
    assert gone.machines == 3
    assert after.generation > before.generation
    assert (after.removed, after.selector) == (True, Selector()), "also those that were relabelled since they got it"
    assert (after.deployment, after.target) == (before.deployment, before.target), "an older agent goes on as before"


async def test_to_everybody_else_it_is_unknown_and_its_history_stays(company: Company) -> None:
    deployment = await company.succeed("a")
    await remove(company)
    async with company.database.reading() as reading:
        with pytest.raises(NotFound, match=r"was removed 0 s ago: fleetcast service add web") as removed:
            await get_service(reading, WEB)
        assert await list_services(reading) == ()
        assert await newest_of_each(reading) == ()
        assert [one.id for one in await list_deployments(reading, Wanted(service=WEB), None, at_most=5)] == [deployment]
    assert removed.value.code == "service_removed"
    for attempt in (company.deploy("a"), company.rollback(), remove(company)):
        with pytest.raises(NotFound, match="brings it back"):
            await attempt
    assert await company.state(deployment) is DeploymentState.SUCCEEDED


async def test_not_while_it_is_being_deployed(company: Company) -> None:
    await company.succeed("a")
    going = await company.deploy("b")
    with pytest.raises(Refused, match=f"{going} is BUILDING.*fleetcast abort {going}"):
        await remove(company)
    assert not (await wanted(company)).removed
    await company.triggers.abort(going)
    await remove(company)
    assert (await wanted(company)).removed


async def test_one_that_never_was_deployed_leaves_nothing(company: Company) -> None:
    assert (await remove(company)).machines == 0
    assert await company.goal() is None


async def test_the_next_deployment_after_it_was_added_again_starts_it(company: Company) -> None:
    first = await company.succeed("a")
    await remove(company)
    tombstone = await wanted(company)
    await bring_back(company)
    await company.step()
    assert await wanted(company) == tombstone, "to add it starts nothing"
    with pytest.raises(Refused, match="not deployed since it was added again"):
        await company.rollback()
    second = await company.deploy("a")
    await company.step()
    goal = await wanted(company)
    assert (goal.removed, goal.deployment) == (False, second)
    assert goal.generation > tombstone.generation
    assert (await company.show(second)).sequence > (await company.show(first)).sequence


async def test_tombstones_are_renewed_for_a_while(company: Company) -> None:
    await company.succeed("a")
    await remove(company)
    publisher = Publisher(company.database, company.kv)

    async def renewed() -> bool:
        before = (await wanted(company)).generation
        async with company.database.transaction() as tx:
            await tx.execute(update(goals).values(expires_at=0))
        await publisher.renew(3600)
        await publisher.publish()
        after = await wanted(company)
        assert after.removed
        return after.generation > before

    assert await renewed()
    async with company.database.transaction() as tx:
        await tx.execute(update(services).values(removed_at=services.c.removed_at - TOMBSTONE_S * 1000))
    assert not await renewed()
