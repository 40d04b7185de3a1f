"""Lists in pages, while others add and remove: nothing twice, nothing missed."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fleetcast.http.tokens import Role
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import Invalid, NotFound
from fleetcast.model.ids import RegionName, ServiceName
from fleetcast.model.messages.services import ServiceSpec

pytestmark = pytest.mark.one_engine

ROWS = 10_000
EU = RegionName("eu-west")


async def _change(home: Path, *changes: tuple[str, list[tuple[Any, ...]]]) -> None:
    """Statements, each for many rows, in one transaction of somebody else."""

    def write() -> None:
        with closing(sqlite3.connect(home / "fleetcast.db", timeout=30)) as database, database:
            for statement, rows in changes:
                database.executemany(statement, rows)

    await asyncio.to_thread(write)


JOIN = (
    "INSERT INTO machines (id, region, zone, rack, labels, joined_at, last_seen_at) VALUES (?, 'eu-west', '', '', '{}', 1, 1)"
)
LEAVE = "UPDATE machines SET retired_at = 2 WHERE id = ?"


def _ids(names: list[str]) -> list[tuple[Any, ...]]:
    return [(name,) for name in names]


async def test_ten_thousand_machines_while_some_join_and_some_are_retired(control: Any, tmp_path: Path) -> None:
    async with control() as installation:
        await installation.region()
        admin = await installation.client(Role.ADMIN)
        stay = [f"m{number:05}" for number in range(0, ROWS, 2)]
        leave = [f"m{number:05}" for number in range(1, ROWS, 2)]
        await _change(tmp_path, (LEAVE, _ids(["m1", "m2"])), (JOIN, _ids([*stay, *leave])))
        seen: list[str] = []
        after: str | None = ""
        pages = 0
        while after is not None:
            page = await admin.machine_page(region=EU, after=after, limit=500)
            assert len(page.items) <= 500
            seen += [machine.id for machine in page.items]
            after, pages = page.next, pages + 1
            new = [f"m{number:05}x{pages}" for number in range(0, ROWS, 700)]  # before and behind where the reader is
            await _change(tmp_path, (JOIN, _ids(new)), (LEAVE, _ids(leave[pages::20])))
        assert pages >= 15
        assert len(seen) == len(set(seen))
        assert set(stay) <= set(seen)
        assert seen == sorted(seen)
        status = await admin.status()
        assert [(it.name, it.machines) for it in status.regions] == [(EU, len([m async for m in admin.machines()]))]


TRIGGERED = (
    "INSERT INTO deployments (id, service, environment, kind, sequence, commit_sha, selector, state, created_at,"
    " machines_total, machines_reporting, machines_fetched, machines_active, machines_failed,"
    " origin_bytes, peer_bytes, local_bytes)"
    " VALUES (?, ?, 'production', 'deploy', ?, ?, '{}', ?, ?, 0, 0, 0, 0, 0, 0, 0, 0)"
)


def _triggered(number: int) -> tuple[Any, ...]:
    state = ("SUCCEEDED", "FAILED", "ABORTED")[number % 3]
    created_at = 1_000_000 + number // 7  # several in the same millisecond
    return f"d{number:05}", ("web", "api")[number % 2], number, "a" * 40, state, created_at


async def test_ten_thousand_deployments_newest_first_while_others_are_triggered(control: Any, tmp_path: Path) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        for name in ("web", "api"):
            await admin.put_service(ServiceSpec(ServiceName(name), "/srv/web.git"))
        await _change(tmp_path, (TRIGGERED, [_triggered(number) for number in range(ROWS)]))
        seen: list[int] = []
        after: str | None = ""
        added = ROWS
        while after is not None:
            page = await admin.deployment_page(after=after, limit=400)
            seen += [int(deployment.id[1:]) for deployment in page.items]
            after = page.next
            await _change(tmp_path, (TRIGGERED, [_triggered(number) for number in range(added, added + 10)]))
            added += 10
        assert seen == list(range(ROWS - 1, -1, -1))
        filtered = admin.deployments(service=ServiceName("api"), state=DeploymentState.FAILED, environment="production")
        wanted = [number for number in range(added) if number % 2 == 1 and number % 3 == 1]
        assert [int(deployment.id[1:]) async for deployment in filtered] == wanted[::-1]
        assert [it async for it in admin.deployments(environment="staging")] == []


async def test_services_and_regions_by_name(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        await installation.region()
        names = [f"s{number}" for number in range(7)]
        for name in reversed(names):
            await admin.put_service(ServiceSpec(ServiceName(name), "/srv/web.git"))
        first = await admin.service_page(limit=3)
        assert ([it.name for it in first.items], first.next is None) == (names[:3], False)
        assert [it.name for it in (await admin.service_page(after=first.next, limit=4)).items] == names[3:]
        assert (await admin.service_page(after=first.next, limit=4)).next is None
        assert [it.name async for it in admin.services()] == names
        assert [(it.name, it.machines) async for it in admin.regions()] == [(EU, 2)]
        assert [machine.id async for machine in admin.machines(region=EU)] == ["m1", "m2"]
        with pytest.raises(NotFound):
            await admin.machine_page(region=RegionName("nowhere"))
        with pytest.raises(Invalid, match="no place in this list"):
            await admin.deployment_page(after=first.next)
