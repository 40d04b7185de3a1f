"""Machines counted for all deployments of a turn at once are those that each would have counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from random import Random

import pytest
from sqlalchemy import update

from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.messages.regions import RegionHello, RegionReport
from fleetcast.rollouts.counting import TurnCounts, meant
from fleetcast.rollouts.intake import record_hello, record_report
from fleetcast.rollouts.inventory import drain, known_machines, known_regions, retire
from fleetcast.schema.tables import machines
from fleetcast.stores.database import Database

REGIONS = (RegionName("ap"), RegionName("eu"), RegionName("us"))
SELECTORS = (
    Selector(),
    Selector(regions=REGIONS[:2]),
    Selector(zones=("z1",)),
    Selector(labels={"role": "web"}),
    Selector(regions=REGIONS[1:], zones=("z0", "z1"), labels={"role": "db", "env": "prod"}),
    Selector(labels={"role": "nobody"}),
)


def _machine(rng: Random, number: int) -> Machine:
    labels = {"role": rng.choice(("web", "db", 'we"b')), "env": rng.choice(("prod", "test"))}
    place = {"zone": f"z{rng.randrange(3)}", "rack": f"r{rng.randrange(2)}"}
    return Machine(MachineId(f"m{number}"), rng.choice(REGIONS), **place, labels=dict(rng.sample(sorted(labels.items()), 2)))


async def _change(database: Database, rng: Random) -> None:
    """Machines join, move, are relabelled, come back, fall silent or are retired; a region is drained, or counts again."""
    what = rng.randrange(5)
    some = MachineId(f"m{rng.randrange(30)}")
    if what <= 1:
        here = [_machine(rng, number) for number in rng.sample(range(30), 6)]
        for region in REGIONS:
            told = tuple(machine for machine in here if machine.region == region)
            await record_report(database, RegionReport(region, told, (), ()))
        return
    async with database.transaction() as tx:
        if what == 2:
            await drain(tx, rng.choice(REGIONS), drained=rng.random() < 0.3)
            return
        await tx.execute(update(machines).where(machines.c.id == some).values(last_seen_at=1))
        if what == 3 and any(machine.id == some for machine in await known_machines(tx)):
            await retire(tx, some)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url)
    yield database
    await database.close()


@pytest.mark.parametrize("seed", range(4))
async def test_the_count_of_a_turn_is_everybodys_own_count(database: Database, seed: int) -> None:
    rng = Random(seed)
    shared, alone = TurnCounts(), TurnCounts()
    for region in REGIONS:
        await record_hello(database, RegionHello(region, f"http://{region}", "00"))
    seen = set()
    for _ in range(25):
        await _change(database, rng)
        shared.begin(2)
        alone.begin(1)
        async with database.reading() as reading:
            there = {region.name for region in await known_regions(reading) if not region.drained}
            everybody = [machine for machine in await known_machines(reading) if machine.region in there]
            for selector in SELECTORS:
                plain = await meant(reading, selector)
                assert await shared.meant(reading, selector) == plain
                assert await alone.meant(reading, selector) == plain
                one_by_one = Counter(machine.region for machine in everybody if selector.matches(machine))
                assert {region: count.machines for region, count in plain.items()} == dict(one_by_one)
                seen.update(count.silent > 0 for count in plain.values())
    assert seen == {True, False}


async def test_a_turn_counts_once_and_the_next_one_anew(database: Database) -> None:
    counts, everybody = TurnCounts(), Selector()
    (eu, *_) = REGIONS
    await record_hello(database, RegionHello(eu, "http://eu", "00"))

    async def joined(number: int) -> int:
        told = tuple(Machine(MachineId(f"m{each}"), eu) for each in range(number))
        await record_report(database, RegionReport(eu, told, (), ()))
        async with database.reading() as reading:
            return sum(count.machines for count in (await counts.meant(reading, everybody)).values())

    counts.begin(2)
    assert [await joined(1), await joined(2)] == [1, 1]
    counts.begin(2)
    assert await joined(3) == 3
