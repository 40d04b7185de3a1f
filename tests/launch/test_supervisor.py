"""Supervising real processes: ready in order, started again, stopped together, and gone when the supervisor is."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetcast.agent.logs import bound_log
from fleetcast.launch import child as child_module
from fleetcast.launch import supervisor as supervisor_module
from fleetcast.launch.child import ChildEvent, ChildSpec
from fleetcast.launch.supervisor import Supervisor
from fleetcast.model.errors import Refused, Unavailable

SERVICE = """
import sys
from pathlib import Path
from fleetcast.launch import process

async def serve(stop, listening):
    listening({"api": "here"})
    await stop.wait()

options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
process.run(serve, ready_file=Path(options["--ready-file"]), lifeline=int(options["--lifeline"]))
"""
SUPERVISING = """
import asyncio, os, sys
from pathlib import Path
from fleetcast.launch.child import ChildSpec
from fleetcast.launch.supervisor import Supervisor

async def main():
    supervisor = Supervisor([ChildSpec("one", (sys.executable, "-c", sys.argv[2]), 0)], Path(sys.argv[1]), os.environ)
    await supervisor.start()
    print(supervisor.pids["one"], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
DEADLINE_S = 15.0


def service(name: str, tier: int = 0) -> ChildSpec:
    return ChildSpec(name, (sys.executable, "-c", SERVICE), tier)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 -- other processes have no event for us
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_tiers_are_ready_one_after_the_other_and_stopped_the_other_way(tmp_path: Path) -> None:
    events: list[ChildEvent] = []
    supervisor = Supervisor([service("upper", 1), service("lower", 0)], tmp_path, os.environ, events.append)
    await supervisor.start()
    pids = supervisor.pids
    assert set(pids) == {"lower", "upper"}
    assert len({*pids.values(), os.getpid()}) == 3
    assert [(e.child, e.what) for e in events] == [
        ("lower", "started"),
        ("lower", "ready"),
        ("upper", "started"),
        ("upper", "ready"),
    ]
    await supervisor.stop()
    assert not supervisor.pids
    assert not [pid for pid in pids.values() if alive(pid)]


async def test_a_process_that_is_killed_comes_back(tmp_path: Path) -> None:
    events: list[ChildEvent] = []
    supervisor = Supervisor([service("one")], tmp_path, os.environ, events.append)
    await supervisor.start()
    first = supervisor.pids["one"]
    os.kill(first, signal.SIGKILL)
    await until(lambda: [event.what for event in events].count("ready") == 2)
    assert supervisor.pids["one"] != first
    assert "was ended by signal 9, starting it again in 0.5 s" in [event.detail for event in events]
    await supervisor.stop()


async def test_a_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    bad = ChildSpec("bad", (sys.executable, "-c", "import sys; sys.exit('port 7401 is taken')"), 0)
    supervisor = Supervisor([bad, service("good")], tmp_path, os.environ)
    with pytest.raises(Unavailable, match="bad ended with exit code 1 before it was ready: port 7401 is taken"):
        await supervisor.start()
    await supervisor.stop()
    assert not supervisor.pids


async def test_what_a_process_tells_of_itself_is_passed_on(tmp_path: Path) -> None:
    told = "import sys; print('fleetcast: cannot listen: set the port [address_in_use]', file=sys.stderr); sys.exit(4)"
    supervisor = Supervisor([ChildSpec("bad", (sys.executable, "-c", told), 0)], tmp_path, os.environ)
    with pytest.raises(Refused, match=r"^bad cannot start: cannot listen: set the port$") as refused:
        await supervisor.start()
    assert refused.value.code == "address_in_use"
    await supervisor.stop()


async def test_a_program_that_does_not_exist_is_no_mystery(tmp_path: Path) -> None:
    supervisor = Supervisor([ChildSpec("none", ("/no/such/program",), 0)], tmp_path, os.environ)
    with pytest.raises(Unavailable, match="could not be started"):
        await supervisor.start()
    await supervisor.stop()


async def test_who_is_not_ready_in_time_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "PROCESS_READY_S_MAX", 0.5)
    stuck = ChildSpec("stuck", (sys.executable, "-c", "import time; time.sleep(1000)"), 0)
    supervisor = Supervisor([stuck, service("later", 1)], tmp_path, os.environ)
    with pytest.raises(Unavailable, match=r"not ready within 0\.5 s: stuck; look into its log"):
        await supervisor.start()
    await supervisor.stop()


async def test_a_log_is_bounded_before_its_process_is_ready_and_after_a_copy_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "PROCESS_LOG_BYTES_MAX", 1000)
    monkeypatch.setattr(child_module, "PROCESS_LOG_LOOK_INTERVAL_S", 0.01)
    monkeypatch.setattr(child_module, "bound_log", looked := Looked())
    (tmp_path / "talker.log.1").mkdir()
    talker = ChildSpec("talker", (sys.executable, "-c", "import time; print('x' * 5000, flush=True); time.sleep(1000)"), 0)
    supervisor = Supervisor([talker], tmp_path, os.environ)
    starting = asyncio.create_task(supervisor.start())
    await until(lambda: looked.failed > 1)
    (tmp_path / "talker.log.1").rmdir()
    await until(lambda: (tmp_path / "talker.log.1").exists() and not (tmp_path / "talker.log").stat().st_size)
    starting.cancel()
    await supervisor.stop()


class Looked:
    """The real thing, counted."""

    failed = 0

    def __call__(self, path: Path, bytes_max: int) -> None:
        try:
            bound_log(path, bytes_max)
        except OSError:
            self.failed += 1
            raise


async def test_stopping_in_the_middle_of_starting_leaves_nothing(tmp_path: Path) -> None:
    supervisor = Supervisor([service(f"child-{number}") for number in range(3)], tmp_path, os.environ)
    starting = asyncio.create_task(supervisor.start())
    await until(lambda: bool(supervisor.pids))
    pids = supervisor.pids
    starting.cancel()
    await supervisor.stop()
    assert not [pid for pid in pids.values() if alive(pid)]


async def test_children_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    supervising = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUPERVISING, str(tmp_path), SERVICE, stdout=asyncio.subprocess.PIPE
    )
    assert supervising.stdout is not None
    child = int(await supervising.stdout.readline())
    assert alive(child)
    supervising.kill()
    await supervising.communicate()
    await until(lambda: not alive(child))
