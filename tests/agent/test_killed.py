"""A real agent process that is killed with SIGKILL wherever it is about to change something, again and again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent import spawning
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.processes import ServiceProcess
from fleetcast.agent.unit_text import SERVICE, SOCKETS, Place, template
from fleetcast.launch.ports import free_ports
from fleetcast.model.hooks import Hook, HookName

# Dies right before it changes the disk or the processes of this machine, once it is up: at the so-and-so-many-th change, or at
# the last one of "event:text > event:text", each the first after the one before whose arguments contain the text.
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from fleetcast.agent.config import AgentConfig
from fleetcast.agent.process import serve
from fleetcast.model.machine import Machine

url, root, key, die_at, die_in, supervisor = sys.argv[1:]
left, counting = int(die_at) if die_at.isdigit() else 0, False
steps = [] if die_at.isdigit() else [step.split(":", 1) for step in die_at.split(" > ")]
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.symlink", "os.posix_spawn", "os.rmdir", "os.truncate", "subprocess.Popen"}

def watch(event, arguments):
    global left
    if not (event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT)):
        return
    if steps and steps[0][0] == event and steps[0][1] in repr(arguments):
        steps.pop(0)
        if not steps:
            os.kill(os.getpid(), signal.SIGKILL)
    if counting and left:
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
    environment={"AGENT": str(os.getpid()), "DIE_IN": die_in}, supervisor=supervisor,
)
asyncio.run(serve(config, asyncio.Event(), ready))
"""

# What every command does first: it notes when another one of its kind is running, and kills its agent where it shall.
BEGIN = (
    'begin() { exec 9>>"$FLEETCAST_DATA/$1.lock"; flock -n 9 || echo "$1" >> "$FLEETCAST_DATA/twice"; '
    'if [ "$DIE_IN" = "$1" ]; then kill -9 "$AGENT"; [ "$1" = activate ] || sleep 60; fi; }; '
)
SERVER = BEGIN + 'begin activate; echo "$FLEETCAST_ARTIFACT$SALT" > "$FLEETCAST_DATA/up"; exec sleep 60'
HEALTH = BEGIN + 'begin health; test "$(cat "$FLEETCAST_DATA/up")" = "$FLEETCAST_ARTIFACT$SALT"'
HOOKS = {str(name): Hook(f"{BEGIN}begin {name}; sleep 0.05") for name in HookName}

KILLS = (1, 2, 3, 4, 6, 8, 11, 14, 18, 23, 29, 36)
"""Which change of each agent's life is its last."""

FETCH = {
    "the root is kept": "os.rename:/roots/",
    "pre_fetch begins": "os.posix_spawn:begin pre_fetch;",
    "a place for it is made": "os.mkdir:/incoming/",
    "the first of it arrives": "open:journal",
    "it is whole": "os.rename:/incoming/",
}
SWITCH = {
    "pre_activate stands at its gate": "os.rename:hook-pre_activate",
    "pre_activate is over": "os.posix_spawn:begin pre_activate; > os.remove:hook-pre_activate",
    "the change-over begins": "os.posix_spawn:begin pre_activate; > os.rename:state.json",
    "deactivate begins": "os.posix_spawn:begin deactivate;",
    "the service is told to stop": "open:.stop'",
    "the service has stopped": "os.remove:process.json",
    "the next link is made": "os.symlink:",
    "the link is switched": "os.rename:.current.next",
}
START = {
    "the service is started": "os.posix_spawn:begin activate;",
    "the service stands at its gate": "os.posix_spawn:begin activate; > os.rename:process.json",
    "its health is asked": "os.posix_spawn:begin health;",
    "post_activate begins": "os.posix_spawn:begin post_activate;",
    "it counts as active": "os.posix_spawn:begin post_activate; > os.rename:state.json",
}
CHILDREN = {"os.posix_spawn:begin activate;": SERVICE, "os.posix_spawn:keeper.py": SOCKETS}
"""Where an agent whose services are its children starts something that stays, and which kind of unit that is elsewhere."""
INSIDE = {f"in {name}": name for name in (*HookName, "activate", "health")}
STILL_SERVES = {*FETCH, *list(SWITCH)[:5], "in pre_fetch", "in pre_activate", "in deactivate"}
"""Where the release before has not been stopped yet."""


class Lives:
    """One machine's agents, one after another, each a process of its own."""

    def __init__(self, region: Any, agent: Any) -> None:
        self._region = region
        self._agent = agent
        self.service: Path = agent.service()

    async def live(self, goal: Any, die_at: str = "0", die_in: str = "") -> bool:
        """Until it is killed, or active; then it is killed. Whether it had been."""
        config = self._agent.config
        if config.supervisor == "systemd":
            place = Place(str(self.service.resolve()), self.service.parent.name, self.service.name)
            for child, kind in CHILDREN.items():
                die_at = die_at.replace(child, f"subprocess.Popen:'start', '{template(place, kind)}@")
        words = (self._region.url, str(config.root), str(self._region.worker_public), die_at, die_in, config.supervisor)
        life = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, *words, stdout=asyncio.subprocess.DEVNULL)
        end = asyncio.create_task(life.wait())
        done = asyncio.create_task(self._region.reported(goal, "ACTIVE"))
        await asyncio.wait({end, done}, return_when=asyncio.FIRST_COMPLETED)
        died = end.done()
        if not died:
            life.kill()
        assert await end == -signal.SIGKILL
        done.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await done
        self._region.reports.clear()
        assert not (self.service / "data" / "twice").exists(), "two of a kind ran at a time"
        return died

    def pid(self) -> int | None:
        """Of the service."""
        instance = ServiceProcess(ServiceLayout(self.service)).instance
        return instance.process.pid if instance is not None and spawning.alive(instance.process) else None

    def strangers(self) -> list[int]:
        """Processes that belong to the service and not to its one instance."""
        mine = {self.pid()}
        mine.update(*(_children(pid) for pid in mine if pid))
        return [found.pid for found in spawning.everybody() if _of(self.service, found.pid) and found.pid not in mine]


@pytest.fixture
def lives(region: Any, agents: Callable[..., Any]) -> Lives:
    return Lives(region, agents())


def release(region: Any, source: Path, commit: str, version: str, **more: Any) -> Any:
    recipe = {"activate": SERVER, "health": HEALTH, "health_timeout_s": 20.0, "hooks": HOOKS, "environment": {"SALT": version}}
    recipe = {**recipe, **more}
    return region.publish(source, {"version": version, "data": version * 100_000}, commit=commit, **recipe)


@pytest.mark.timeout(110)
async def test_an_agent_that_is_killed_again_and_again_converges(
    region: Any, agents: Callable[..., Any], tmp_path: Path, until: Callable[..., Any]
) -> None:
    agent = agents()
    lives = Lives(region, agent)
    releases = [release(region, tmp_path, commit, commit) for commit in "ab"]
    for number, die_at in enumerate(KILLS, 1):
        goal = region.want(releases[number // 3 % 2], 1 + number // 3)
        assert await lives.live(goal, str(die_at)), f"it did not get as far as its change {die_at}"
        if (lives.service / "current").exists():
            assert agent.current() in [each.files for each in releases], "current leads to a whole release"

    await agent.start()
    report = await region.reported(region.want(releases[0], 90, baseline=releases[0]), "ACTIVE")
    assert report.bytes.total == report.target_bytes == releases[0].root.content_size
    assert agent.current() == releases[0].files
    assert not (lives.service / "data" / "twice").exists()
    assert lives.pid()
    assert lives.strangers() == []
    await until(lambda: not [*(lives.service / "incoming").iterdir(), *(lives.service / "discarded").iterdir()])


@pytest.mark.timeout(110)
@pytest.mark.parametrize("steps", [FETCH, SWITCH, START, INSIDE], ids=["fetch", "switch", "start", "inside"])
async def test_an_agent_that_is_killed_at_a_step_leaves_a_whole_release_and_the_next_one_goes_on(
    steps: dict[str, str], region: Any, agents: Callable[..., Any], tmp_path: Path
) -> None:
    agent = agents()
    lives = Lives(region, agent)
    before = release(region, tmp_path, "0", "first")
    await lives.live(region.want(before, 1))
    for number, (step, at) in enumerate(steps.items(), 1):
        served_by = lives.pid()
        after = release(region, tmp_path, f"{number:x}", step)
        goal = region.want(after, 1 + number, baseline=before)
        died = await (lives.live(goal, die_in=at) if steps is INSIDE else lives.live(goal, at))
        assert died, f"it did not get to where {step}"
        assert agent.current() in (before.files, after.files), step
        if step in STILL_SERVES:
            assert lives.pid() == served_by, f"{step}: what ran goes on running"
            assert agent.current() == before.files, step
        assert not await lives.live(goal), step
        assert agent.current() == after.files, step
        assert lives.pid(), step
        assert lives.strangers() == [], step
        before = after


BESIDE = {
    "its sockets are kept anew": "os.posix_spawn:keeper.py",
    "they are on record": "os.posix_spawn:keeper.py > os.rename:keeper.json",
    "the keeper before is told to end": "os.posix_spawn:keeper.py > os.rename:keeper.json > os.remove:.keep",
    "the one before steps aside": "os.rename:leaving.json",
    "the service is started": "os.posix_spawn:begin activate;",
    "the service stands at its gate": "os.posix_spawn:begin activate; > os.rename:process.json",
    "its health is asked": "os.posix_spawn:begin health;",
    "deactivate begins": "os.posix_spawn:begin deactivate;",
    "the link is switched": "os.rename:.current.next",
    "the one before is told to stop": "open:.stop'",
    "the one before has stopped": "os.remove:leaving.json",
    "post_activate begins": "os.posix_spawn:begin post_activate;",
    "it counts as active": "os.posix_spawn:begin post_activate; > os.rename:state.json",
}


@pytest.mark.timeout(110)
async def test_an_agent_that_is_killed_while_one_release_comes_up_beside_another_closes_no_socket(
    region: Any, agents: Callable[..., Any], tmp_path: Path
) -> None:
    agent = agents()
    lives = Lives(region, agent)
    ports = free_ports(2, "127.0.0.1", random.Random())
    # Both are up for a while, so that this one of the commands is not alone of its kind.
    activate = SERVER.replace("begin activate; ", ': "begin activate;"; [ "$DIE_IN" != activate ] || kill -9 "$AGENT"; ')
    refused: list[str] = []

    def made(commit: str, step: str, count: int) -> Any:
        sockets = tuple(f"127.0.0.1:{port}" for port in ports[:count])
        return release(region, tmp_path, commit, step, activate=activate, sockets=sockets)

    async def connecting() -> None:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", ports[0])
                writer.close()
            except OSError as error:
                refused.append(str(error))
            await asyncio.sleep(0.05)

    before = made("0", "first", 1)
    await lives.live(region.want(before, 1))
    client = asyncio.create_task(connecting())
    for number, (step, at) in enumerate(BESIDE.items(), 1):
        after = made(f"{number:x}", step, 1 + number % 2)
        goal = region.want(after, 1 + number, baseline=before)
        assert await lives.live(goal, at), f"it did not get to where {step}"
        assert agent.current() in (before.files, after.files), step
        assert not await lives.live(goal), step
        assert (agent.current(), refused) == (after.files, []), step
        assert lives.pid(), step
        assert lives.strangers() == [], step
        before = after
    client.cancel()


def _of(service: Path, pid: int) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"FLEETCAST_DATA={service}/data".encode() in environment.split(b"\0")


def _children(pid: int) -> Sequence[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
