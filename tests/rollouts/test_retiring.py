"""A machine that is retired while a wave has it inside: triggers, tables, goals and decisions are real, machines are played."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import update

from fleetcast.model.deployment import DeploymentState as State
from fleetcast.model.ids import DeploymentId, MachineId, RegionName
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.plan import Policy, Stage
from fleetcast.rollouts.retiring import recently_retired, retire
from fleetcast.rollouts.skipping import skip
from fleetcast.schema.tables import machines
from paper_company import WEB, Company, sha
from played_fleet import Fleet

POLICY = Policy(stages=(Stage("canary", count=2, bake_s=60), Stage("rest")))


@dataclass
class Under:
    """A deployment in its first wave."""

    deployment: DeploymentId
    fleet: Fleet


@pytest.fixture
async def way(company: Company) -> Under:
    """Ten machines that run ``a``, two of which ``b`` has let in; one of these two is off."""
    company.machines = {}
    fleet = Fleet(company)
    await fleet.join({"eu": 9, "us": 1})
    await company.deploy("a")
    await company.make("a")
    await _go_on(fleet, 3)
    deployment = (await company.triggers.deploy(DeployRequest(WEB, sha("b"), plan=POLICY))).id
    await company.make("b")
    await company.step()
    goal = await company.goal()
    assert goal is not None
    canaries = [played for played in fleet.machines.values() if goal.activates(played.machine)]  # of eu first
    assert len(canaries) == 2
    canaries[0].silent = True
    await _go_on(fleet, 3)
    return Under(deployment, fleet)


async def _go_on(fleet: Fleet, turns: int) -> None:
    for _ in range(turns):
        await fleet.company.step()
        await fleet.turn()
    await fleet.company.step()


async def _retire(fleet: Fleet, machine: MachineId) -> None:
    async with fleet.company.database.transaction() as tx:
        await tx.execute(update(machines).where(machines.c.id == machine).values(last_seen_at=1))
        await retire(tx, machine)
    del fleet.machines[machine]  # its region is told, and forgets it
    await fleet.company.step()


def _silent(fleet: Fleet) -> MachineId:
    (gone,) = [machine for machine, played in fleet.machines.items() if played.silent]
    return gone


async def test_a_retired_canary_has_another_one_in_its_place(way: Under) -> None:
    fleet, deployment = way.fleet, way.deployment
    before = await fleet.company.goal()
    assert before is not None
    assert "1 of 2 are unreachable, none may be" in (await fleet.company.show(deployment)).reason
    await _retire(fleet, _silent(fleet))
    after = await fleet.company.goal()
    assert after is not None
    assert after.generation > before.generation
    await _go_on(fleet, 3)
    assert fleet.runs() == {"a": 7, "b": 2}
    shown = await fleet.company.show(deployment)
    assert shown.state is State.DISTRIBUTING
    assert "wave 1 of 2 (canary): 2 of 2 healthy; bakes until" in shown.reason


async def test_nobody_of_a_region_that_is_skipped_takes_its_place(way: Under) -> None:
    fleet, us = way.fleet, RegionName("us")
    await fleet.join({"us": 20})
    async with fleet.company.database.transaction() as tx:
        await skip(tx, way.deployment, us)
    before = fleet.runs(fleet.of(us)).get("b", 0)
    await _retire(fleet, _silent(fleet))
    await _go_on(fleet, 3)
    assert fleet.runs(fleet.of(RegionName("eu")))["b"] == 2
    assert fleet.runs(fleet.of(us)).get("b", 0) == before


async def test_who_is_let_in_by_no_wave_is_retired_without_a_goal(way: Under) -> None:
    fleet = way.fleet
    before = await fleet.company.goal()
    assert before is not None
    outside = next(played.machine.id for played in fleet.machines.values() if not before.activates(played.machine))
    await _retire(fleet, outside)
    assert await fleet.company.goal() == before


async def test_a_region_is_told_who_is_retired_until_that_machine_reports_again(way: Under) -> None:
    fleet = way.fleet
    gone = _silent(fleet)
    played = fleet.machines[gone]
    region = played.machine.region
    await _retire(fleet, gone)
    async with fleet.company.database.reading() as reading:
        assert await recently_retired(reading, region) == (gone,)
        assert await recently_retired(reading, RegionName("ap")) == ()
    played.silent = False
    fleet.machines[gone] = played
    await fleet.report(await fleet.company.goal())
    async with fleet.company.database.reading() as reading:
        assert await recently_retired(reading, region) == ()
