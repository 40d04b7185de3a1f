"""A real agent process that is killed with SIGKILL wherever it is about to change something, again and again."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent import spawning
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.processes import ServiceProcess

# Counts what changes the disk or the processes of this machine once it is up, and dies right before one of these.
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from fleetcast.agent.config import AgentConfig
from fleetcast.agent.process import serve
from fleetcast.model.machine import Machine

url, root, key, die_at = sys.argv[1:]
left, counting = int(die_at), False
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.symlink", "os.posix_spawn", "os.rmdir", "os.truncate"}

def watch(event, arguments):
    global left
    if counting and (event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT)):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

def ready(addresses):
    global counting
    counting = True

sys.addaudithook(watch)
config = AgentConfig(
    machine=Machine("m1", "eu"), region_url=url, token="t", root=Path(root), worker_public_keys=(Path(key),),
    stop_grace_s=2.0, settle_s=0.05, health_interval_s=0.02, goal_wait_s=5.0,
)
asyncio.run(serve(config, asyncio.Event(), ready))
"""

SERVER = (
    'exec 9>>"$FLEETCAST_DATA/lock"; flock -n 9 || echo twice >> "$FLEETCAST_DATA/twice"; '
    'echo "$FLEETCAST_COMMIT" > "$FLEETCAST_DATA/up"; exec sleep 60'
)
HEALTH = 'test "$(cat "$FLEETCAST_DATA/up")" = "$FLEETCAST_COMMIT"'

KILLS = (1, 2, 3, 4, 6, 8, 11, 14, 18, 23)
"""Which change of each agent's life is its last."""


@pytest.mark.timeout(110)
async def test_an_agent_that_is_killed_again_and_again_converges(
    region: Any, agents: Callable[..., Any], tmp_path: Path, until: Callable[..., Any]
) -> None:
    recipe = {"activate": SERVER, "health": HEALTH, "health_timeout_s": 20.0}
    releases = [
        region.publish(tmp_path, {"version": commit, "data": commit * 100_000}, commit=commit, **recipe) for commit in "ab"
    ]
    agent = agents()
    service = agent.service()
    killed = 0
    for number, die_at in enumerate(KILLS, 1):
        goal = region.want(releases[number // 3 % 2], 1 + number // 3)
        life = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, region.url, str(agent.config.root), str(region.worker_public), str(die_at),
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        end = asyncio.create_task(life.wait())
        done = asyncio.create_task(region.reported(goal, "ACTIVE"))
        await asyncio.wait({end, done}, return_when=asyncio.FIRST_COMPLETED)
        if not end.done():
            life.kill()
        killed += await end == -signal.SIGKILL
        done.cancel()
        await asyncio.gather(done, return_exceptions=True)
        region.reports.clear()
        if (service / "current").exists():
            assert agent.current() in [release.files for release in releases], "current leads to a whole release"
        assert not (service / "data" / "twice").exists(), "two instances ran at a time"
    assert killed == len(KILLS)

    await agent.start()
    report = await region.reported(region.want(releases[0], 90, baseline=releases[0]), "ACTIVE")
    assert report.bytes.total == report.target_bytes == releases[0].root.content_size
    assert agent.current() == releases[0].files
    assert not (service / "data" / "twice").exists()
    instance = ServiceProcess(ServiceLayout(service)).instance
    assert instance is not None
    alive = [found.pid for found in spawning.everybody() if _of(service, found.pid)]
    assert set(alive) == {instance.process.pid, *_children(instance.process.pid)}
    await until(lambda: not [*(service / "incoming").iterdir(), *(service / "discarded").iterdir()])


def _of(service: Path, pid: int) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"FLEETCAST_DATA={service}/data".encode() in environment.split(b"\0")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
