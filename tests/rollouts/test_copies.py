"""Copies that people want now, and regions that are drained because they say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from fleetcast.model.errors import Refused
from fleetcast.model.event import EventKind
from fleetcast.model.ids import Digest, RegionName
from fleetcast.model.limits import COPY_DEMAND_S_MAX
from fleetcast.model.messages.regions import RegionReport
from fleetcast.model.replication import CopyDemand, CopyProgress
from fleetcast.rollouts import demands, inventory
from fleetcast.rollouts.intake import record_report
from fleetcast.schema.copy_tables import copy_demands
from fleetcast.schema.tables import copies, events

if TYPE_CHECKING:
    from conftest import Company

EU, US = RegionName("eu"), RegionName("us")
A, B = Digest("a" * 64), Digest("b" * 64)


async def demand(company: Company, digest: Digest, *regions: RegionName) -> None:
    async with company.database.transaction() as tx:
        await demands.demand(tx, digest, regions)


async def wanted(company: Company, region: RegionName) -> tuple[CopyDemand, ...]:
    async with company.database.reading() as reading:
        return await demands.wanted(reading, region)


async def region(company: Company, name: RegionName) -> inventory.Region:
    async with company.database.reading() as reading:
        return await inventory.known_region(reading, name)


async def happened(company: Company) -> list[str]:
    async with company.database.reading() as reading:
        rows = await reading.execute(select(events.c.kind, events.c.subject).order_by(events.c.id))
        return [f"{row.kind} {row.subject}" for row in rows if row.kind.startswith("region.") and "joined" not in row.kind]


async def test_a_demand_is_repeated_until_its_region_has_followed_it(company: Company) -> None:
    await demand(company, A, EU, US)
    [told] = await wanted(company, EU)
    assert told.digest == A
    await company.report("eu")
    assert await wanted(company, EU) == (told,), "the answer may have been lost"
    await record_report(company.database, RegionReport(EU, (), (), (), demands=(told,)))
    assert await wanted(company, EU) == ()
    assert len(await wanted(company, US)) == 1


async def test_what_is_demanded_again_meanwhile_is_told_again(company: Company) -> None:
    await demand(company, A, EU)
    [first] = await wanted(company, EU)
    async with company.database.transaction() as tx:
        await tx.execute(update(copy_demands).values(asked_at=first.asked_at_ms + 1))
    await record_report(company.database, RegionReport(EU, (), (), (), demands=(first,)))
    assert len(await wanted(company, EU)) == 1


async def test_old_demands_are_dropped(company: Company) -> None:
    await demand(company, A, EU)
    async with company.database.transaction() as tx:
        await tx.execute(update(copy_demands).values(asked_at=copy_demands.c.asked_at - COPY_DEMAND_S_MAX * 1000 - 1))
    await demand(company, B, EU)
    assert [told.digest for told in await wanted(company, EU)] == [B]


async def test_a_region_says_that_it_has_given_a_copy_up(company: Company) -> None:
    for given_up in (True, False):
        progress = CopyProgress(A, 1, 2, "away", given_up)
        await record_report(company.database, RegionReport(EU, (), (), (progress,)))
        async with company.database.reading() as reading:
            assert (await reading.execute(select(copies.c.given_up))).scalar_one() is given_up


async def test_a_silent_region_is_drained_and_counts_again_once_it_has_caught_up(company: Company) -> None:
    async with company.database.transaction() as tx:
        await inventory.drain_silent(tx, EU, 300)
        await inventory.drain_silent(tx, EU, 300)
    drained = await region(company, EU)
    assert (drained.drained, drained.silent_at_ms is not None, drained.returned) == (True, True, False)
    async with company.database.transaction() as tx:
        await inventory.take_back(tx, EU)
    assert (await region(company, EU)).drained, "nobody has heard of it"
    await company.report("eu")
    assert (await region(company, EU)).returned
    assert (await region(company, EU)).drained, "it may have nothing of what was released meanwhile"
    async with company.database.transaction() as tx:
        await inventory.still_silent(tx, EU)
    assert not (await region(company, EU)).returned
    await company.report("eu")
    async with company.database.transaction() as tx:
        await inventory.take_back(tx, EU)
    back = await region(company, EU)
    assert (back.drained, back.silent_at_ms, back.returned) == (False, None, False)
    assert await happened(company) == [f"{EventKind.REGION_SILENT} eu", f"{EventKind.REGION_CAUGHT_UP} eu"]


async def test_what_a_person_has_drained_is_not_taken_back(company: Company) -> None:
    async with company.database.transaction() as tx:
        await inventory.drain_silent(tx, EU, 300)
        await inventory.drain(tx, EU, drained=True)
    await company.report("eu")
    async with company.database.transaction() as tx:
        await inventory.take_back(tx, EU)
    assert (await region(company, EU)).drained


async def test_a_person_cannot_count_a_silent_region_but_one_that_catches_up(company: Company) -> None:
    async with company.database.transaction() as tx:
        await inventory.drain_silent(tx, EU, 300)
    with pytest.raises(Refused, match="says nothing"):
        async with company.database.transaction() as tx:
            await inventory.drain(tx, EU, drained=False)
    await company.report("eu")
    async with company.database.transaction() as tx:
        await inventory.drain(tx, EU, drained=False)
    assert not (await region(company, EU)).drained
