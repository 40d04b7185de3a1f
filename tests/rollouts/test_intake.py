"""What is kept of regions' reports."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from fleetcast.model.deployment import ByteCounts
from fleetcast.model.errors import NotFound, Refused
from fleetcast.model.generation import Generation
from fleetcast.model.ids import DeploymentId, Digest, MachineId, RegionName, ServiceName
from fleetcast.model.limits import ROLLUP_AFTERMATH_S
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.messages.regions import RegionHello, RegionReport
from fleetcast.model.replication import CopyProgress
from fleetcast.model.report import DeploymentRollup, MachineProgress, Phase
from fleetcast.rollouts.counting import expected
from fleetcast.rollouts.intake import record_hello, record_report
from fleetcast.rollouts.inventory import count_silent, drain, known_machines, known_regions, retire, silent
from fleetcast.schema.tables import copies, deployments, machines, regions, rollups

if TYPE_CHECKING:
    from conftest import Company

EU, US = RegionName("eu"), RegionName("us")


def _machine(name: str, region: RegionName = EU, **more: object) -> Machine:
    return Machine(MachineId(name), region, **more)  # type: ignore[arg-type]


async def test_a_region_that_never_said_hello_is_told_to(company: Company) -> None:
    with pytest.raises(NotFound, match="has not said hello") as unknown:
        await record_report(company.database, RegionReport(RegionName("ap"), (), (), ()))
    assert unknown.value.code == "unknown_region"


async def test_a_hello_after_a_restart_moves_the_data_port_and_keeps_the_drain(company: Company) -> None:
    async with company.database.transaction() as tx:
        await tx.execute(update(regions).where(regions.c.name == EU).values(drained=True))
    await record_hello(company.database, RegionHello(EU, "http://127.0.0.1:2", "11"))
    async with company.database.reading() as reading:
        eu, us = await known_regions(reading)
    assert (eu.name, eu.data_url, eu.data_key, eu.drained) == (EU, "http://127.0.0.1:2", "11", True)
    assert (us.name, us.drained) == (US, False)
    assert us.last_report_age_s is not None
    assert us.last_report_age_s < 60


async def test_machines_join_are_relabelled_and_move(company: Company) -> None:
    await record_report(company.database, RegionReport(EU, (_machine("eu-1", zone="b", labels={"gpu": "yes"}),), (), ()))
    await record_report(company.database, RegionReport(US, (_machine("eu-2", US),), (), ()))
    async with company.database.reading() as reading:
        known = {machine.id: machine for machine in await known_machines(reading)}
    assert (known[MachineId("eu-1")].zone, known[MachineId("eu-1")].labels) == ("b", {"gpu": "yes"})
    assert known[MachineId("eu-2")].region == US
    assert len(known) == 3


async def test_a_machine_that_is_not_reported_stays_in_the_inventory(company: Company) -> None:
    await record_report(company.database, RegionReport(EU, (), (), ()))
    async with company.database.reading() as reading:
        assert await expected(reading, Selector()) == {EU: 2, US: 1}


async def test_selectors_count_as_they_match(company: Company) -> None:
    odd = {"x": "'\"", "y": "100%_/\\", "z": "}, {é", "Gpu": "YES"}
    crowd = tuple(
        _machine(f"eu-{number}", zone="ab"[number % 2], labels={"gpu": "yes"} if number % 3 == 0 else {"gpu": "no", **odd})
        for number in range(30)
    )
    await record_report(company.database, RegionReport(EU, crowd, (), ()))
    selectors = [
        Selector(),
        Selector(regions=(US,)),
        Selector(zones=("a",)),
        Selector(labels={"gpu": "yes"}),
        Selector(zones=("b",), labels={"gpu": "no", "x": "'\""}),
        *(Selector(labels={key: value}) for key, value in odd.items()),
        *(
            Selector(labels={key: value})
            for key, value in (("y", "100%%_/\\"), ("y", "100%//\\"), ("gpu", "YES"), ("z", "}, "))
        ),
        Selector(labels={"nobody": "has it"}),
    ]
    async with company.database.reading() as reading:
        known = await known_machines(reading)
        for selector in selectors:
            matched = [machine.region for machine in known if selector.matches(machine)]
            assert await expected(reading, selector) == {region: matched.count(region) for region in sorted(set(matched))}


async def test_machines_nobody_has_mentioned_for_long_are_silent(company: Company) -> None:
    async with company.database.transaction() as tx:
        await tx.execute(update(machines).where(machines.c.id != "eu-1").values(last_seen_at=machines.c.last_seen_at - 121_000))
    async with company.database.reading() as reading:
        assert await silent(reading, Selector(), 5) == ("eu-2", "us-1")
        assert await silent(reading, Selector(), 1) == ("eu-2",)
        assert await silent(reading, Selector(regions=(US,)), 5) == ("us-1",)
        assert await count_silent(reading, EU) == 1
    await company.report("us")
    async with company.database.reading() as reading:
        assert await silent(reading, Selector(), 5) == ("eu-2",)


async def test_machines_seen_last_before_the_clock_was_set_back_are_silent(company: Company) -> None:
    async with company.database.transaction() as tx:
        await tx.execute(
            update(machines).where(machines.c.id == "eu-2").values(last_seen_at=machines.c.last_seen_at + 3_600_000)
        )
    async with company.database.reading() as reading:
        assert await silent(reading, Selector(), 5) == ("eu-2",)
        assert await count_silent(reading, EU) == 1


async def test_the_last_rollup_wins_and_unknown_deployments_are_ignored(company: Company) -> None:
    a = await company.deploy("a")
    await company.active(a, {"eu": 2})
    await company.active(a, {"eu": 1})
    unknown = DeploymentRollup(
        DeploymentId("nobody"), ServiceName("web"), "production", Generation(0, 1), 1, 1, 1, 1, 0, ByteCounts(), 0
    )
    await company.report("eu", unknown)
    async with company.database.reading() as reading:
        rows = (await reading.execute(select(rollups).order_by(rollups.c.region))).all()
    assert [(row.deployment, row.region, row.active) for row in rows] == [(a, "eu", 1), (a, "us", 0)]
    assert rows[0].last_active_at is not None
    assert rows[1].last_active_at is None


async def test_a_picture_follows_its_machines_for_a_moment_after_the_end(company: Company) -> None:
    """A machine that failed goes back after the deployment has ended."""
    a = await company.deploy("a")
    await company.make("a")
    await company.step()
    failing = DeploymentRollup(
        a,
        ServiceName("web"),
        "production",
        Generation(0, 1),
        selected=2,
        reporting=2,
        fetched=2,
        active=1,
        failed=1,
        bytes=ByteCounts(),
        last_active_age_ms=0,
        phases={"ACTIVE": 1, "FAILED": 1},
        machines=(MachineProgress(MachineId("eu-2"), Phase.FAILED, note="exit 1; goes back", going_back=True),),
    )
    back = replace(failing, active=0, machines=(MachineProgress(MachineId("eu-2"), Phase.FAILED, note="exit 1; runs 6"),))

    async def shown() -> tuple[int, str]:
        async with company.database.reading() as reading:
            row = (await reading.execute(select(rollups).where(rollups.c.region == EU))).one()
        return row.active, row.machines[0].note

    await company.report("eu", failing)
    assert await shown() == (1, "exit 1; goes back")
    await company.triggers.abort(a)
    await company.report("eu", back)
    assert await shown() == (1, "exit 1; runs 6"), "the counts are frozen"
    async with company.database.transaction() as tx:
        await tx.execute(update(deployments).values(finished_at=deployments.c.finished_at - ROLLUP_AFTERMATH_S * 1000 - 1))
    await company.report("eu", failing)
    assert await shown() == (1, "exit 1; runs 6")


async def test_copies_are_what_the_last_report_says(company: Company) -> None:
    one, two = Digest("1" * 64), Digest("2" * 64)

    async def told(*progress: CopyProgress) -> list[tuple[str, int, str]]:
        await record_report(company.database, RegionReport(EU, (), (), progress))
        async with company.database.reading() as reading:
            rows = await reading.execute(select(copies).order_by(copies.c.digest))
            return [(row.digest, row.bytes_copied, row.error) for row in rows]

    assert await told(CopyProgress(one, 5, 10, "disk full"), CopyProgress(two, 0, 10)) == [(one, 5, "disk full"), (two, 0, "")]
    assert await told(CopyProgress(one, 7, 10)) == [(one, 7, "")]
    assert await told() == []


async def test_a_drained_region_is_left_out_until_it_counts_again(company: Company) -> None:
    async with company.database.transaction() as tx:
        await drain(tx, EU, drained=True)
        assert EU not in await expected(tx, Selector())
        await drain(tx, EU, drained=False)
        assert EU in await expected(tx, Selector())
        with pytest.raises(NotFound, match="no region 'moon'"):
            await drain(tx, RegionName("moon"), drained=True)


async def test_a_machine_that_is_gone_is_retired_and_back_when_it_reports(company: Company) -> None:
    gone = MachineId("eu-1")
    async with company.database.transaction() as tx:
        with pytest.raises(Refused, match="stop its agent"):
            await retire(tx, gone)
        await tx.execute(update(machines).where(machines.c.id == gone).values(last_seen_at=1))
        await retire(tx, gone)
        with pytest.raises(NotFound, match="no machine 'nobody'"):
            await retire(tx, MachineId("nobody"))
    async with company.database.reading() as reading:
        assert gone not in {machine.id for machine in await known_machines(reading)}
    await record_report(company.database, RegionReport(EU, (_machine("eu-1"),), (), ()))
    async with company.database.reading() as reading:
        assert gone in {machine.id for machine in await known_machines(reading)}
