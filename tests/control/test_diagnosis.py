"""What control tells the doctor: which control processes there are, and what regions raise alarms about."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert

from fleetcast import __version__
from fleetcast.cli.doctor.control import control as doctor
from fleetcast.http.tokens import Role, load_or_create
from fleetcast.model.ids import RegionName
from fleetcast.model.messages.regions import RegionReport
from fleetcast.schema.installation_tables import control_processes
from fleetcast.stores.database import Database, read_clock_ms

EU = RegionName("eu-west")


async def _checks(installation: Any, name: str) -> list[str]:
    """What the doctor says under that name."""
    token = load_or_create(installation.home, Role.ADMIN)

    def examined() -> list[str]:
        checks = doctor(installation.addresses["api"], token, down_is_fine=False)
        return [f"{each.verdict} {each.says}; {each.advice}" for each in checks if each.name == name]

    return await asyncio.to_thread(examined)


async def test_control_processes_are_told_with_versions_and_clocks(control: Any, database_url: str) -> None:
    async with control() as one, control() as other:
        (said,) = await _checks(one, "control processes")
        assert said.startswith("ok 2: ")
        for running in (one, other):
            assert f"{running.addresses['api']} ({__version__})" in said
        database = await Database.open(database_url)
        async with database.transaction() as tx:
            now = await read_clock_ms(tx)
            about = {"protocol": 1, "started_at": 0}
            before = {
                "id": "before",
                "place": "c3 http://c3:7401",
                "version": "0.0.1",
                "seen_at": now,
                "clock_ahead_ms": -40_000,
            }
            gone = {
                "id": "gone",
                "place": "c4 http://c4:7401",
                "version": "0.0.1",
                "seen_at": now - 300_000,
                "clock_ahead_ms": 0,
            }
            await tx.execute(insert(control_processes), [about | before, about | gone])
        await database.close()
        lost, mixed, clock = await _checks(one, "control processes")
        assert lost.startswith(
            "warn c4 http://c4:7401 was last heard of 5 min ago, and did not say that it ends; start it again"
        )
        assert mixed.startswith("warn of different versions: ")
        assert "c3 http://c3:7401 (0.0.1)" in mixed
        assert clock == ("fail the clock of c3 http://c3:7401 is 40 s behind the database's; run an NTP client on both hosts")


@pytest.mark.one_engine
async def test_alarms_of_a_region_are_told(control: Any) -> None:
    async with control() as installation:
        region = await installation.region()
        assert [said[:2] for said in await _checks(installation, f"region {EU}")] == ["ok"]
        alarm = f"the clock of region {EU} is about 1 hour ahead: set it right (is NTP running?)"
        await region.client.report(RegionReport(EU, region.machines, (), (), (alarm,)))
        assert f"warn reports an alarm; {alarm}" in await _checks(installation, f"region {EU}")
