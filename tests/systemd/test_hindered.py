"""What becomes of a service where systemd, or the machine, does not do what its agent asks for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent import spawning, units
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.processes import ServiceProcess
from fleetcast.agent.reconcile import ProcessStatus
from fleetcast.agent.sockets import ServiceSockets
from fleetcast.agent.supervisor import CHILDREN, FoundUnits, Supervisor, tidy
from fleetcast.agent.unit_text import SERVICE, Place, template
from fleetcast.agent.units import Units
from fleetcast.launch.ports import free_ports
from fleetcast.model.errors import Refused

Until = Callable[[Callable[[], bool]], Awaitable[None]]

ENVIRONMENT = {"PATH": os.environ["PATH"]}
FILES = Path("/run/systemd/system")
# What a person would see who holds up systemd, which cannot be stopped from inside its own machine: $3 is the command.
HOLD = """#!/bin/sh
PATH={path}
{first}
exec systemctl "$@"
"""
SILENT = "exec sleep 600"
SLOW_TO_END = "trap 'sleep 0.2; echo bye > farewell; exit 0' TERM; echo > ready; while :; do sleep 0.05; done"


@contextlib.contextmanager
def held_up(directory: Path, first: str, *, answer_s: float = 1.0) -> Iterator[None]:
    """Inside the context this line of shell comes before every ``systemctl``, and who waits for that waits for so long."""
    (directory / "bin").mkdir()
    program = directory / "bin" / "systemctl"
    program.write_text(HOLD.format(path=os.environ["PATH"], first=first))
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        patch.setattr(units, "SYSTEMD_ANSWER_S_MAX", answer_s)
        patch.setattr(units, "KILL_S_MAX", answer_s)
        yield


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[ServiceLayout]:
    layout = ServiceLayout(tmp_path / "production" / "service")
    layout.make()
    yield layout

    async def end() -> None:
        await ServiceProcess(layout).stop(0)
        await tidy(layout.run, ())

    asyncio.run(end())


@pytest.fixture
def service(layout: ServiceLayout) -> ServiceProcess:
    return ServiceProcess(layout, Units(5.0))


def named(layout: ServiceLayout) -> str:
    return template(Place(str(layout.base.resolve()), layout.base.parent.name, layout.base.name), SERVICE)


@pytest.fixture
def drop_in(layout: ServiceLayout) -> Iterator[Callable[[str], None]]:
    """Writes one for the service's units."""
    directory = FILES / f"{named(layout)}@.service.d"

    def write(text: str) -> None:
        directory.mkdir()
        (directory / "more.conf").write_text(text)
        subprocess.run(["systemctl", "daemon-reload"], check=True)

    yield write
    shutil.rmtree(directory)
    subprocess.run(["systemctl", "daemon-reload"], check=True)


def remembered(layout: ServiceLayout) -> list[str]:
    """What systemd has of the service's units, those that have ended included."""
    listing = ("systemctl", "list-units", "--all", "--plain", "--full", "--no-legend", f"{named(layout)}@*")
    return subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()


async def test_one_that_systemd_does_not_signal_is_told_by_its_agent_and_has_all_its_time(
    service: ServiceProcess, layout: ServiceLayout, until: Until, tmp_path: Path
) -> None:
    await service.start("activation", SLOW_TO_END, layout.base, ENVIRONMENT)
    await until((layout.base / "ready").exists)
    with held_up(tmp_path, f'case "$3" in kill) {SILENT};; esac', answer_s=2.0):
        await service.stop(20)
    assert (layout.base / "farewell").read_text() == "bye\n"
    assert (service.status(), remembered(layout)) == (ProcessStatus.IDLE, [])


async def test_the_time_to_end_begins_when_it_is_told(
    service: ServiceProcess, layout: ServiceLayout, until: Until, tmp_path: Path
) -> None:
    await service.start("activation", SLOW_TO_END, layout.base, ENVIRONMENT)
    await until((layout.base / "ready").exists)
    with held_up(tmp_path, 'case "$3" in kill) sleep 4;; esac', answer_s=60.0):
        await service.stop(3.5)
    assert (layout.base / "farewell").read_text() == "bye\n"


async def test_a_systemd_that_does_not_answer_is_named_and_what_ran_has_ended(
    service: ServiceProcess, layout: ServiceLayout, tmp_path: Path
) -> None:
    instance = await service.start("activation", "exec sleep 60", layout.base, ENVIRONMENT)
    with held_up(tmp_path, SILENT), pytest.raises(Refused, match="does not answer to systemctl") as refused:
        await service.stop(0.1)
    assert refused.value.code == "systemd_silent"
    assert not spawning.alive(instance.process)
    assert service.instance == instance, "it counts as stopped once systemd has said so"
    await service.stop(5)
    assert (service.status(), remembered(layout)) == (ProcessStatus.IDLE, [])


async def test_who_is_cancelled_while_systemd_ends_a_unit_leaves_nobody_waiting_for_that(
    service: ServiceProcess, layout: ServiceLayout, until: Until, tmp_path: Path
) -> None:
    await service.start("activation", "exec sleep 60", layout.base, ENVIRONMENT)
    waits = tmp_path / "waits"
    with held_up(tmp_path, f'case "$3" in stop) echo $$ > {waits}; {SILENT};; esac', answer_s=60.0):
        stopping = asyncio.create_task(service.stop(60))
        await until(lambda: waits.exists() and waits.read_text().endswith("\n"))
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
    assert not Path(f"/proc/{waits.read_text().strip()}").exists()


async def test_a_stop_that_systemd_refuses_ends_what_is_known(
    service: ServiceProcess, layout: ServiceLayout, tmp_path: Path
) -> None:
    instance = await service.start("activation", "trap : TERM; while :; do sleep 0.05; done", layout.base, ENVIRONMENT)
    refusing = 'case "$3" in kill|stop) echo "Access denied" >&2; exit 4;; esac'
    with held_up(tmp_path, refusing), pytest.raises(Refused, match=r"systemd refuses stop .*Access denied") as refused:
        await service.stop(0.1)
    assert refused.value.code == "systemd_refused"
    assert not spawning.alive(instance.process)


async def test_a_start_that_cannot_be_put_on_record_leaves_nothing(service: ServiceProcess, layout: ServiceLayout) -> None:
    in_the_way = layout.run / "process.json"
    in_the_way.mkdir()
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            await service.start("activation", "echo > begun; exec sleep 60", layout.base, ENVIRONMENT)
        assert remembered(layout) == []
    assert not (layout.base / "begun").exists()
    in_the_way.rmdir()
    await service.start("activation", "exec sleep 60", layout.base, ENVIRONMENT)
    assert service.status() is ProcessStatus.UP


@pytest.mark.parametrize(("program", "answer_s"), [("sleep 600", 4.0), ("sleep 0.3", 1000.0), ("sleep 0.3; exit 1", 1000.0)])
async def test_a_unit_that_does_not_come_to_its_agent_is_named_and_not_left_running(
    service: ServiceProcess,
    layout: ServiceLayout,
    tmp_path: Path,
    drop_in: Callable[[str], None],
    program: str,
    answer_s: float,
) -> None:
    drop_in(f'[Service]\nExecStart=\nExecStart=/bin/sh -c "{program}"\n')
    with held_up(tmp_path, "", answer_s=answer_s), pytest.raises(Refused, match="did not come to its agent") as refused:
        await service.start("activation", "exec sleep 60", layout.base, ENVIRONMENT)
    assert refused.value.code == "unit_silent"
    assert (service.instance, remembered(layout), list(layout.run.iterdir())) == (None, [], [])


async def test_a_unit_that_systemd_starts_again_is_not_waited_for(
    service: ServiceProcess, layout: ServiceLayout, tmp_path: Path, drop_in: Callable[[str], None]
) -> None:
    drop_in('[Service]\nExecStart=\nExecStart=/bin/sh -c "sleep 0.3; exit 1"\nRestart=always\nRestartSec=300\n')
    with held_up(tmp_path, "", answer_s=1000.0), pytest.raises(Refused, match="did not come to its agent"):
        await service.start("activation", "exec sleep 60", layout.base, ENVIRONMENT)
    assert remembered(layout) == []


@pytest.mark.parametrize("units_first", [False, True])
async def test_a_change_of_supervisor_closes_no_socket_and_ends_nothing_that_runs(
    layout: ServiceLayout, units_first: bool
) -> None:
    port = free_ports(1, "127.0.0.1", random.Random())[0]
    address = (f"127.0.0.1:{port}",)
    supervisors: list[Supervisor] = [CHILDREN, Units(5.0)]
    before, after = supervisors[::-1] if units_first else supervisors
    ran = await ServiceProcess(layout, before).start("one", "exec sleep 60", layout.base, ENVIRONMENT)
    first = ServiceSockets(layout, before)
    async with first.opened(address, own=False):
        pass
    kept = first.keeper
    assert kept is not None

    sockets, service = ServiceSockets(layout, after), ServiceProcess(layout, after)
    await sockets.end_leftovers()
    await tidy(layout.run, [ran.id, kept.id])
    assert (sockets.keeper, service.status()) == (kept, ProcessStatus.UP), "it goes on as what it is"
    with socket.create_connection(("127.0.0.1", port), 5) as waiting:
        async with sockets.opened(address, own=False) as passed:
            listening = socket.socket(fileno=os.dup(passed.descriptors[0]))
            assert sockets.keeper is not None
            assert (bool(kept.unit), bool(sockets.keeper.unit)) == (units_first, not units_first)
        with listening:
            taken, _ = listening.accept()
            with taken:
                assert taken.getpeername() == waiting.getsockname(), "whoever had come already is still there"
    assert not spawning.alive(kept.process)
    service.step_aside()
    following = await service.start("two", "exec sleep 60", layout.base, ENVIRONMENT)
    assert (bool(ran.unit), bool(following.unit)) == (units_first, not units_first)
    await service.end_leaving(5)
    assert (spawning.alive(ran.process), service.status()) == (False, ProcessStatus.UP)
    await sockets.keep_only(())


async def test_services_that_start_together_have_systemd_read_its_files_once_or_twice(
    layout: ServiceLayout, tmp_path: Path
) -> None:
    layouts = [ServiceLayout(tmp_path / "production" / f"service-{number}") for number in range(6)]
    for each in layouts:
        each.make()
    supervisor = Units(5.0)
    services = [ServiceProcess(each, supervisor) for each in layouts]
    note = f'case "$3" in daemon-reload) sleep 1; echo x >> {tmp_path}/reloads;; esac'

    async def start(service: ServiceProcess) -> None:
        await service.start("one", "exec sleep 60", layout.base, ENVIRONMENT)

    with held_up(tmp_path, note, answer_s=30.0):
        await asyncio.gather(*map(start, services))
        together = len((tmp_path / "reloads").read_text().splitlines())
        await services[0].stop(5)
        await start(services[0])
        assert len((tmp_path / "reloads").read_text().splitlines()) == together, "nothing has changed"
    assert [service.status() for service in services] == [ProcessStatus.UP] * 6
    assert together < 6
    for each, service in zip(layouts, services, strict=True):
        await service.stop(5)
        await tidy(each.run, ())


async def test_a_release_that_ends_fast_takes_no_time_from_the_one_before(
    service: ServiceProcess, layout: ServiceLayout
) -> None:
    def stop_s(unit: str) -> str:
        asking = ("systemctl", "show", "--value", "--property=TimeoutStopUSec", unit)
        return subprocess.run(asking, capture_output=True, text=True, check=True).stdout.strip()

    slow = await service.start("one", "exec sleep 60", layout.base, ENVIRONMENT, drain_s=50.0)
    service.step_aside()
    fast = await service.start("two", "exec sleep 60", layout.base, ENVIRONMENT, drain_s=7.0)
    assert (stop_s(slow.unit), stop_s(fast.unit)) == ("50s", "50s")
    await service.end_leaving(1)
    await service.stop(1)
    alone = await service.start("three", "exec sleep 60", layout.base, ENVIRONMENT, drain_s=7.0)
    assert stop_s(alone.unit) == "7s"


@pytest.mark.parametrize("silent", [False, True])
async def test_an_agent_that_begins_asks_once_for_all_services_what_systemd_has_of_them(tmp_path: Path, silent: bool) -> None:
    layouts = [ServiceLayout(tmp_path / "production" / f"service-{number}") for number in range(3)]
    for each in layouts:
        each.make()
    supervisor, found = Units(5.0), FoundUnits()
    (layouts[1].run / "killed.gate").touch()
    mine, strange = [ServiceProcess(each, supervisor) for each in layouts[:2]]
    await mine.start("one", "exec sleep 60", tmp_path, ENVIRONMENT)
    left = await strange.start("one", "exec sleep 60", tmp_path, ENVIRONMENT)
    assert mine.instance is not None
    on_record: list[list[str]] = [[mine.instance.id], [], []]
    note = f'echo "$3" >> {tmp_path}/calls; {SILENT if silent else ""}'
    with held_up(tmp_path, note, answer_s=1.0 if silent else 30.0):
        for each, known in zip(layouts, on_record, strict=True):
            await found.tidy(each.run, known)
    asked = (tmp_path / "calls").read_text().split()
    assert asked.count("list-units") == 1
    assert mine.status() is ProcessStatus.UP
    if silent:
        assert asked == ["list-units"], "it is asked no more"
        assert spawning.alive(left.process)
    else:
        assert not spawning.alive(left.process), "nobody has it on record"
        assert remembered(layouts[1]) == []
        assert not (layouts[1].run / "killed.gate").exists(), "what an agent that was killed had left goes as well"
    for each, service in zip(layouts, (mine, strange), strict=False):
        await service.stop(5)
        await tidy(each.run, ())


async def test_an_agent_that_begins_with_two_releases_and_a_silent_systemd_begins_and_ends_one_later(
    region: Any, agents: Callable[..., Any], tmp_path: Path
) -> None:
    agent = agents(supervisor="systemd")
    goal = region.want(region.publish(tmp_path, {"version": "a"}, activate="exec sleep 60"), 1)
    await agent.start()
    await region.reported(goal, "ACTIVE")
    await agent.stop()
    process = ServiceProcess(ServiceLayout(agent.service()), Units(5.0))
    serving = process.instance
    process.step_aside()
    sick = await process.start("sick", "exec sleep 60", tmp_path, ENVIRONMENT)
    with held_up(tmp_path, SILENT):
        await agent.start()
        await region.until(lambda: "does not answer" in region.reports["m1", "web"].error)
    await region.until(lambda: region.reports["m1", "web"].error == "")
    assert ServiceProcess(ServiceLayout(agent.service())).instance == serving
    assert not spawning.alive(sick.process)


async def test_a_start_that_systemd_refuses_leaves_nothing(
    service: ServiceProcess, layout: ServiceLayout, tmp_path: Path
) -> None:
    refusing = 'case "$3" in start) echo "Access denied" >&2; exit 4;; esac'
    with held_up(tmp_path, refusing, answer_s=30.0), pytest.raises(Refused, match="Access denied") as refused:
        await service.start("activation", "exec sleep 60", layout.base, ENVIRONMENT)
    assert refused.value.code == "systemd_refused"
    assert (service.instance, remembered(layout), list(layout.run.iterdir())) == (None, [], [])
