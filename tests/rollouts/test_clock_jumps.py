"""The database's clock jumps: no deployment ends because of it, none lives for ever, and no goal is good for years."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.limits import GOAL_LIFETIME_S
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.plan import Policy, Stage
from fleetcast.rollouts.controller import RolloutController
from fleetcast.schema.rollout_tables import rollouts
from fleetcast.schema.tables import goals
from fleetcast.stores.database import read_clock_ms
from jumps import JUMPS, Steady
from paper_company import WEB, sha


async def jump(company: Any, deployment: Any, steady: Steady, seconds: int) -> None:
    await company.passed(deployment, seconds)
    async with company.database.transaction() as tx:
        await tx.execute(update(goals).values(expires_at=goals.c.expires_at - seconds * 1000))
    steady.s -= seconds


@pytest.mark.parametrize("jump_s", JUMPS)
async def test_a_deployment_under_way_goes_on_and_still_has_an_end(company: Any, jump_s: int) -> None:
    steady = Steady()
    company.controller = RolloutController(company.database, company.kv, company.queue, steady=steady)
    deployment = await company.deploy("a")
    await company.make("a")
    await company.step()
    assert await company.state(deployment) is DeploymentState.DISTRIBUTING
    await jump(company, deployment, steady, jump_s)
    await company.step()
    assert await company.state(deployment) is DeploymentState.DISTRIBUTING, "not too late for hours that never were"
    await company.passed(deployment, 1801)
    await company.step()
    assert await company.state(deployment) is DeploymentState.FAILED, "and too late when its time is over"


@pytest.mark.parametrize("jump_s", JUMPS)
async def test_it_ends_well_where_all_is_well(company: Any, jump_s: int) -> None:
    steady = Steady()
    company.controller = RolloutController(company.database, company.kv, company.queue, steady=steady)
    deployment = await company.deploy("a")
    await company.claim()
    await company.step()
    await jump(company, deployment, steady, jump_s)
    await company.finish("a")
    await company.replicate("a")
    await company.step()
    await company.everywhere(deployment)
    await company.step()
    assert await company.state(deployment) is DeploymentState.SUCCEEDED


@pytest.mark.parametrize("jump_s", JUMPS)
async def test_a_wave_is_neither_late_nor_endless_for_it(company: Any, jump_s: int) -> None:
    steady = Steady()
    company.controller = RolloutController(company.database, company.kv, company.queue, steady=steady)
    plan = Policy(stages=(Stage(percent=50, bake_s=60),))
    deployment = (await company.triggers.deploy(DeployRequest(WEB, sha("a"), plan=plan))).id
    await company.make("a")
    await company.step()

    async def passed(seconds: int) -> None:
        async with company.database.transaction() as tx:
            await tx.execute(update(rollouts).values(wave_at=rollouts.c.wave_at - seconds * 1000))

    await passed(jump_s)
    await jump(company, deployment, steady, jump_s)
    await company.step()
    assert await company.state(deployment) is DeploymentState.DISTRIBUTING, "not too late for hours that never were"
    await passed(1861)
    await company.step()
    assert await company.state(deployment) is DeploymentState.FAILED, "and too late when its time is over"


@pytest.mark.parametrize("jump_s", JUMPS)
async def test_another_controller_goes_on_within_a_lease(company: Any, jump_s: int) -> None:
    """A claim from before the clock was set back would keep everybody else away for as long."""
    deployment = await company.deploy("a")
    await company.claim()
    await company.step()
    await company.passed(deployment, jump_s)
    successor = RolloutController(company.database, company.kv, company.queue)
    await company.finish("a")
    await company.replicate("a")
    await successor.step()
    await company.passed(deployment, 16)
    await successor.step()
    assert await company.state(deployment) is DeploymentState.DISTRIBUTING


@pytest.mark.parametrize("jump_s", JUMPS)
async def test_goals_are_good_for_a_day_by_the_clock_there_is_now(company: Any, jump_s: int) -> None:
    steady = Steady()
    company.controller = RolloutController(company.database, company.kv, company.queue, steady=steady)
    deployment = await company.succeed("a")
    before = await company.goal()
    await jump(company, deployment, steady, jump_s)
    await company.step()
    async with company.database.reading() as reading:
        now = await read_clock_ms(reading)
    after = await company.goal()
    assert before is not None
    assert after is not None
    left_s = (after.expires_at_ms - now) / 1000
    if abs(jump_s) > GOAL_LIFETIME_S / 2:
        assert after.generation > before.generation
        assert GOAL_LIFETIME_S - 60 < left_s <= GOAL_LIFETIME_S + 60
