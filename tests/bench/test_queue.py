"""``bench.queue``: what it is asked for, and that our side of it does what it counts."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select

from bench.queue import asked
from bench.queue.ours import Fleetcast
from fleetcast.schema.tables import artifacts, jobs
from fleetcast.stores.database import Database
from lab.errors import LabError


@pytest.mark.parametrize("wrong", ["--callers=0", "--callers=501", "--seconds=0.5", "--runs=21", "--history=0"])
def test_what_makes_no_sense_is_refused_in_a_line(wrong: str) -> None:
    with pytest.raises(LabError, match=f"^{wrong.partition('=')[0]} .*: choose 1 to "):
        asked.parse([wrong])


def test_the_command_measures_the_same_again() -> None:
    given = ["--callers", "7", "--seconds", "2.5", "--runs", "2", "--history", "9"]
    wanted = asked.parse(given)
    assert asked.parse(asked.command(wanted).split()[3:]) == wanted


@pytest.mark.one_engine
async def test_a_cycle_is_a_build_from_the_claim_to_its_artifact(database_url: str) -> None:
    ours = Fleetcast()
    await ours.add_waiting(database_url, 20)
    await ours.add_finished(database_url, 5)
    async with ours.callers(database_url, 4) as cycles:
        did = await asyncio.gather(*(cycle() for cycle in cycles * 6))
    assert sum(did) == 20, "and whoever comes then is told that there is no more"
    database = await Database.open(database_url)
    async with database.reading() as reading:
        counts = dict((await reading.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status))).all())
        made = (await reading.execute(select(func.count()).select_from(artifacts))).scalar_one()
    await database.close()
    assert counts == {"SUCCEEDED": 25}
    assert made == 20
