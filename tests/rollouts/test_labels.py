"""Labels that people give: what is legal, and how they reach the KV."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleetcast.http import messages
from fleetcast.model.errors import Conflict, Invalid, NotFound
from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.limits import GIVEN_LABELS_MAX, LABEL_VALUE_BYTES_MAX
from fleetcast.model.machine import GivenLabels, Machine
from fleetcast.model.messages.regions import RegionReport
from fleetcast.rollouts import labels
from fleetcast.rollouts.intake import record_report
from fleetcast.rollouts.publishing import Publisher
from fleetcast.stores.sqlite_kv import SqliteKv

if TYPE_CHECKING:
    from conftest import Company

EU1 = MachineId("eu-1")


async def give(company: Company, instead_of: dict[str, str] | None = None, **given: str) -> None:
    async with company.database.transaction() as tx:
        await labels.give(tx, EU1, given, instead_of)


async def restored(company: Company, kv: SqliteKv) -> None:
    """As at the start of a control process."""
    publisher = Publisher(company.database, kv)
    await publisher.restore()
    await publisher.publish()


async def published(kv: SqliteKv) -> dict[str, dict[str, str]]:
    entries = (await kv.range("labels/")).entries
    return {entry.key: dict(messages.decode(entry.value, GivenLabels).labels) for entry in entries}


async def test_they_are_published_once_and_taking_them_away_is_said(company: Company) -> None:
    await give(company, role="web", gpu="a100")
    await company.step()
    assert await published(company.kv) == {"labels/eu-1": {"role": "web", "gpu": "a100"}}
    revision = (await company.kv.range("")).revision
    await give(company, gpu="a100", role="web")
    await company.step()
    assert (await company.kv.range("")).revision == revision, "to say it again changes nothing"
    await give(company)
    await company.step()
    assert await published(company.kv) == {"labels/eu-1": {}}


async def test_a_machine_that_was_never_seen_is_not_found(company: Company) -> None:
    async with company.database.transaction() as tx:
        with pytest.raises(NotFound, match="no machine 'eu-9'"):
            await labels.give(tx, MachineId("eu-9"), {"role": "web"})


async def test_what_cannot_be_given_is_refused_and_nothing_is_kept(company: Company) -> None:
    for given in (
        {"": "x"},
        {"role-": "x"},
        {"a b": "x"},
        {"ro=le": "x"},
        {"k" * 64: "x"},
        {"role": "we\nb"},
        {"role": "x" * (LABEL_VALUE_BYTES_MAX + 1)},
        {f"k{number}": "" for number in range(GIVEN_LABELS_MAX + 1)},
        {f"k{number}": "x" * LABEL_VALUE_BYTES_MAX for number in range(4)},
    ):
        with pytest.raises(Invalid):
            await give(company, **given)
        async with company.database.reading() as reading:
            assert await labels.given_to(reading, EU1) == {}, given


async def test_they_fit_beside_the_machines_own(company: Company) -> None:
    machine = Machine(EU1, RegionName("eu"), labels={"long": "x" * 480, "role": "db"})
    await record_report(company.database, RegionReport(RegionName("eu"), (machine,), (), ()))
    with pytest.raises(Invalid, match="shorten"):
        await give(company, another="y" * 50)
    await give(company, long="y" * 50)


async def test_two_people_at_once_do_not_undo_each_other(company: Company) -> None:
    await give(company, {}, role="web")
    with pytest.raises(Conflict, match="somebody else"):
        await give(company, {}, gpu="yes")
    await give(company, {}, role="web")
    await give(company, {"role": "web"}, role="web", gpu="yes")


async def test_a_lost_kv_is_written_again_and_what_sql_does_not_know_is_taken_away(company: Company, tmp_path: Path) -> None:
    await give(company, role="web")
    other = await SqliteKv.open(tmp_path / "new.db")
    await other.put("labels/us-1", messages.encode(GivenLabels(MachineId("us-1"), {"role": "db"})))
    await restored(company, other)
    assert await published(other) == {"labels/eu-1": {"role": "web"}, "labels/us-1": {}}
    revision = (await other.range("")).revision
    await restored(company, other)
    assert (await other.range("")).revision == revision
    await other.close()


async def test_publishers_at_once_end_with_what_was_given_last(company: Company) -> None:
    async def publish() -> None:
        for _ in range(5):
            await labels.publish(company.database, company.kv)

    async def give_all() -> None:
        for number in range(20):
            await give(company, role=f"web-{number}")
            await asyncio.sleep(0)

    await asyncio.gather(give_all(), publish(), publish(), publish())
    await labels.publish(company.database, company.kv)
    assert await published(company.kv) == {"labels/eu-1": {"role": "web-19"}}
