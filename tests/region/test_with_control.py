"""The region process beside a real control process: what either tells the other arrives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleetcast.client.control import ControlClient
from fleetcast.control import process
from fleetcast.control.config import ControlConfig
from fleetcast.http import messages
from fleetcast.http.tokens import Role, TokenSet
from fleetcast.model.artifact import goal_key
from fleetcast.model.goal import Goal
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import MachineReport, MachineReportAccepted
from fleetcast.stores.sqlite_kv import SqliteKv

Eventually = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


@pytest.fixture
async def real_control(tmp_path: Path) -> AsyncIterator[Mapping[str, str]]:
    """The addresses of a control process."""
    home = tmp_path / "real-control"
    home.mkdir()
    config = ControlConfig(
        tokens=TokenSet({Role.ADMIN: "admin", Role.REGION: "region"}),
        data_key=home / "data.key",
        database_url=f"sqlite+aiosqlite:///{home / 'control.db'}",
        kv_path=home / "kv.db",
        main_bucket=home / "main",
        worker_public_keys=(),
    )
    stop = asyncio.Event()
    listening: asyncio.Future[Mapping[str, str]] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(process.serve(config, stop, listening.set_result))
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    yield listening.result()
    stop.set()
    await task


async def test_control_sees_the_region_and_the_region_its_goals(
    region: Any, real_control: Mapping[str, str], tmp_path: Path, make_goal: Any, make_machine: Any, eventually: Eventually
) -> None:
    await region.stop()
    region.config = replace(region.config, control_url=real_control["api"])
    await region.start()
    machine: Machine = make_machine("m1")
    agent = region.agent()
    await agent.ask("POST", "/v1/reports", MachineReport(machine, ()), reply=MachineReportAccepted)
    async with ControlClient(real_control["api"], "admin") as people:

        async def listed() -> Any:
            return (await people.machine_page()).items or None

        assert await eventually(listed) == (machine,)
        assert [(each.name, each.machines) for each in (await people.status()).regions] == [("eu", 1)]

    goal: Goal = make_goal()
    async with contextlib.AsyncExitStack() as stack:
        kv = await SqliteKv.open(tmp_path / "real-control" / "kv.db")
        stack.push_async_callback(kv.close)
        await kv.put(goal_key(goal.environment, goal.service), messages.encode(goal))

    async def told() -> Any:
        return (await region.goals(agent, machine)).goals or None

    assert await eventually(told) == (goal,)
