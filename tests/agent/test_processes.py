"""Real processes, and an agent that is killed with SIGKILL in front of them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent import ending, processes, spawning
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.processes import ServiceProcess
from fleetcast.agent.reconcile import ProcessStatus
from fleetcast.agent.supervisor import chosen, end, tidy

Until = Callable[[Callable[[], bool]], Awaitable[None]]
ENVIRONMENT = {"PATH": os.environ["PATH"]}

# Starts a service as an agent does, says so, and waits to be killed.
AGENT = """
import asyncio, os, signal, sys, time
from pathlib import Path
from fleetcast.agent import records
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.processes import ServiceProcess
from fleetcast.agent.supervisor import chosen

base, command, die, supervisor = sys.argv[1:]
write = records.write

def write_and_die(*arguments, **more):
    if die == "before-word":
        write(*arguments, **more)
    os.kill(os.getpid(), signal.SIGKILL)

if die != "after-start":
    records.write = write_and_die
service = ServiceProcess(ServiceLayout(Path(base)), chosen(supervisor, 5.0))
asyncio.run(service.start("activation", command, Path(base), {"PATH": os.environ["PATH"]}))
print("started", flush=True)
time.sleep(60)
"""


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[ServiceLayout]:
    layout = ServiceLayout(tmp_path / "service")
    layout.make()
    yield layout

    async def end() -> None:
        await ServiceProcess(layout).stop(0)
        await tidy(layout.run, ())

    asyncio.run(end())


@pytest.fixture
def service(layout: ServiceLayout, supervisor: Any) -> ServiceProcess:
    return ServiceProcess(layout, chosen(supervisor, 5.0))


def killed_agent(layout: ServiceLayout, supervisor: Any, command: str, die: str = "after-start") -> None:
    """An agent started ``command`` and was killed."""
    words = [sys.executable, "-c", AGENT, str(layout.base), command, die, supervisor]
    agent = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert agent.stdout is not None
    with agent, agent.stdout:
        if die == "after-start":
            assert any(line == b"started\n" for line in agent.stdout)
            agent.kill()
        assert agent.wait(10) == -signal.SIGKILL


def starts(layout: ServiceLayout) -> int:
    path = layout.base / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


async def test_what_a_killed_agent_started_is_found_again(layout: ServiceLayout, supervisor: Any, until: Until) -> None:
    killed_agent(layout, supervisor, "echo x >> starts; exec sleep 60")
    await until(lambda: starts(layout) == 1)
    found = ServiceProcess(layout)
    assert found.status() is ProcessStatus.UP
    assert found.instance is not None
    process = found.instance.process
    await found.stop(5)
    assert not spawning.alive(process)
    assert ServiceProcess(layout).status() is ProcessStatus.IDLE


@pytest.mark.parametrize("die", ["before-record", "before-word"])
async def test_an_agent_killed_while_it_starts_something_has_started_nothing(
    layout: ServiceLayout, supervisor: Any, until: Until, die: str
) -> None:
    killed_agent(layout, supervisor, "echo x >> starts; exec sleep 60", die)
    marker = str(layout.run).encode()

    def gone() -> bool:
        return not any(marker in _command_line(found.pid) for found in spawning.everybody())

    await until(gone)
    assert starts(layout) == 0
    assert ServiceProcess(layout).status() is (ProcessStatus.IDLE if die == "before-record" else ProcessStatus.DOWN)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def test_how_it_ended_is_known_to_the_next_agent(layout: ServiceLayout, supervisor: Any, until: Until) -> None:
    killed_agent(layout, supervisor, "echo x >> starts; exit 0")
    found = ServiceProcess(layout)
    await found.ended()
    assert found.status() is ProcessStatus.DONE
    killed_agent(layout, supervisor, "exit 7")
    found = ServiceProcess(layout)
    await found.ended()
    assert (found.status(), found.exit_code()) == (ProcessStatus.DOWN, 7)


async def test_everything_it_started_ends_with_it(service: ServiceProcess, layout: ServiceLayout, until: Until) -> None:
    program = (
        "import os, signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '61'])\n"
        "daemon = subprocess.Popen(['setsid', 'sleep', '62'])\n"
        "open('pids', 'w').write(f'{os.getpid()} {child.pid} {daemon.pid} ')\n"
        "time.sleep(60)\n"
    )
    (layout.base / "service.py").write_text(program)
    await service.start("activation", f"exec {sys.executable} service.py", layout.base, ENVIRONMENT)
    pids = layout.base / "pids"
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 3)
    running = [spawning.identify(int(pid)) for pid in pids.read_text().split()]
    assert service.instance is not None
    stubborn = running[0]
    assert {process.pid for process in ending.members(service.instance)} >= {process.pid for process in running}
    await service.stop(0.3)
    assert not any(spawning.alive(process) for process in running), f"{stubborn} ignores SIGTERM and had to be killed"


async def test_what_it_left_in_the_background_ends_with_it(service: ServiceProcess, layout: ServiceLayout) -> None:
    await service.start("activation", "sleep 60 & echo $!", layout.base, ENVIRONMENT)
    await service.ended()
    assert service.status() is ProcessStatus.DONE
    background = spawning.identify(int(service.log.read_text()))
    await service.stop(5)
    assert not spawning.alive(background)


async def test_a_service_may_end_in_its_own_time(service: ServiceProcess, layout: ServiceLayout, until: Until) -> None:
    command = "trap 'echo bye > farewell; exit 0' TERM; echo > ready; while :; do sleep 0.05; done"
    await service.start("activation", command, layout.base, ENVIRONMENT)
    await until((layout.base / "ready").exists)
    await service.stop(10)
    assert (layout.base / "farewell").read_text() == "bye\n"


@pytest.mark.parametrize(("code", "known"), [(0, 143), (3, 3)])
async def test_one_that_is_asked_to_end_has_not_done_its_work(
    service: ServiceProcess, layout: ServiceLayout, until: Until, code: int, known: int
) -> None:
    command = f"trap 'exit {code}' TERM; echo > ready; while :; do sleep 0.05; done"
    instance = await service.start("activation", command, layout.base, ENVIRONMENT)
    await until((layout.base / "ready").exists)
    os.killpg(instance.process.pid, signal.SIGTERM)
    await asyncio.wait_for(service.ended(), 10)
    assert (service.status(), service.exit_code()) == (ProcessStatus.DOWN, known)
    assert ServiceProcess(layout).status() is ProcessStatus.DOWN, "the next agent sees the same"


async def test_one_whose_agent_is_killed_while_it_ends_it_has_not_done_its_work(
    service: ServiceProcess, layout: ServiceLayout, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ended_and_killed(instance: Any, grace_s: float) -> None:
        await end(instance, grace_s)
        raise InterruptedError

    command = "trap 'exit 0' TERM; echo > ready; while :; do sleep 0.05; done"
    await service.start("activation", command, layout.base, ENVIRONMENT)
    await until((layout.base / "ready").exists)
    monkeypatch.setattr(processes, "end", ended_and_killed)
    with pytest.raises(InterruptedError):
        await service.stop(10)
    assert ServiceProcess(layout).status() is ProcessStatus.DOWN, "the next agent starts it again"


async def test_one_that_is_stopped_before_it_has_begun_does_not_begin(service: ServiceProcess, layout: ServiceLayout) -> None:
    for _ in range(20):
        await service.start("activation", "exec sleep 60", layout.base, ENVIRONMENT)
        await asyncio.wait_for(service.stop(60), 10)
    assert service.status() is ProcessStatus.IDLE


async def test_a_record_of_another_boot_or_of_a_reused_number_names_nobody(
    service: ServiceProcess, layout: ServiceLayout
) -> None:
    instance = await service.start("activation", "exec sleep 60", layout.base, ENVIRONMENT)
    process = instance.process
    assert not spawning.alive(spawning.ProcessId(process.pid, process.start_ticks + 1, process.boot))
    assert not spawning.alive(spawning.ProcessId(process.pid, process.start_ticks, "another boot"))
    spawning.signal_one(spawning.ProcessId(process.pid, process.start_ticks + 1, process.boot), signal.SIGKILL)
    assert service.status() is ProcessStatus.UP


async def test_output_is_kept_and_its_last_line_told(service: ServiceProcess, layout: ServiceLayout) -> None:
    await service.start("one", "echo first; echo second >&2; echo; exit 3", layout.base, ENVIRONMENT)
    await service.ended()
    assert service.last_words() == "second"
    await service.start("two", "exit 3", layout.base, ENVIRONMENT)
    await service.ended()
    assert service.last_words() == "", "of this start, not of an earlier one"
    assert service.log.read_text() == "first\nsecond\n\n"


async def test_a_service_sees_what_it_is_given_and_nothing_else(service: ServiceProcess, layout: ServiceLayout) -> None:
    await service.start("one", "env; ls /proc/self/fd | wc -l", layout.base, {**ENVIRONMENT, "PORT": "80"})
    assert service.instance is not None
    await service.ended()
    lines = service.log.read_text().split("\n")
    names = {line.split("=")[0] for line in lines if "=" in line} - {"PWD", "OLDPWD", "SHLVL", "_"}
    assert names == {"PATH", "PORT", "FLEETCAST_INSTANCE"}
    assert f"FLEETCAST_INSTANCE={service.instance.id}" in lines
    assert "4" in lines, "stdin, stdout, stderr and the directory being listed"


async def test_what_a_recipe_sets_is_what_its_command_sees(service: ServiceProcess, layout: ServiceLayout) -> None:
    names = ("word", "command", "directory", "code", "counts", "gate")
    told = {name: f"the recipe's {name}" for name in names}
    await service.start("one", "env", layout.base, {**ENVIRONMENT, **told})
    await service.ended()
    assert {f"{name}={value}" for name, value in told.items()} <= {*service.log.read_text().split("\n")}
