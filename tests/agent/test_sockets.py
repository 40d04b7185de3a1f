"""Services that are started with their listening sockets: nobody who connects is refused, whatever becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent import sockets, spawning
from fleetcast.agent.layout import MachineLayout, ServiceKey, ServiceLayout
from fleetcast.agent.leftovers import stop_services
from fleetcast.agent.processes import Instance, ServiceProcess
from fleetcast.agent.sockets import ServiceSockets
from fleetcast.agent.supervisor import chosen, tidy
from fleetcast.launch.ports import free_ports
from fleetcast.model.errors import Refused
from fleetcast.model.hooks import Hook
from fleetcast.model.probe import Probe

Until = Callable[[Callable[[], bool]], Awaitable[None]]
Agents = Callable[..., Any]

# Takes connections at all sockets that it was started with, answers each with its commit, and ends in good order at SIGTERM:
# what it has taken it answers. Where its data has a file "sick-<commit>", what comes at its own socket is answered with 503,
# and where there is a "busy-<commit>", it has something to finish before it ends.
PROGRAM = """
import os, select, signal, socket
assert int(os.environ["LISTEN_PID"]) == os.getpid()
commit, data, names = os.environ["FLEETCAST_COMMIT"], os.environ["FLEETCAST_DATA"], os.environ["LISTEN_FDNAMES"].split(":")
listening = [socket.socket(fileno=3 + number) for number in range(int(os.environ["LISTEN_FDS"]))]
assert len(names) == len(listening)
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append("to end"))
with open(f"{data}/starts", "a") as starts:
    print(commit[0], ",".join(names), file=starts)
for each in listening:
    each.setblocking(False)
while not asked:
    for ready in select.select(listening, [], [], 0.02)[0]:
        if asked:
            break
        try:
            connection, _ = ready.accept()
        except BlockingIOError:
            continue
        connection.settimeout(5)
        connection.recv(65536)
        sick = names[listening.index(ready)] == "health" and os.path.exists(f"{data}/sick-{commit[0]}")
        connection.sendall(b"HTTP/1.1 %d x\\r\\n\\r\\n%s" % (503 if sick else 200, commit[:1].encode()))
        connection.close()
while os.path.exists(f"{data}/busy-{commit[0]}"):
    select.select([], [], [], 0.02)
"""
OWN = Probe(http="http://$FLEETCAST_HEALTH/health", interval_s=0.25)


def web(region: Any, source: Path, commit: str, **more: Any) -> Any:
    recipe = {
        "activate": f"exec {sys.executable} -S server.py",
        "sockets": ("127.0.0.1:$PORT",),
        "probe": OWN,
        "health_timeout_s": 10.0,
        **more,
    }
    return region.publish(source, {"server.py": PROGRAM, "version": commit}, commit=commit, **recipe)


@dataclass
class Client:
    """Somebody who connects again and again."""

    address: tuple[str, int]
    answers: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Inside the context it does."""
        done = asyncio.Event()
        running = asyncio.create_task(self._run(done))
        try:
            yield
        finally:
            done.set()
            await running

    async def _run(self, done: asyncio.Event) -> None:
        while not done.is_set():
            try:
                self.answers.append(await self.ask())
            except (OSError, AssertionError) as error:
                self.refusals.append(repr(error))
            await asyncio.sleep(0.002)

    async def ask(self) -> str:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            answer = await reader.read()
        finally:
            writer.close()
        assert answer.startswith(b"HTTP/1.1 200"), answer
        return answer[-1:].decode()


@pytest.fixture
def agent(agents: Agents) -> Any:
    return agents(environment={"PORT": str(free_ports(1, "127.0.0.1", random.Random())[0])}, stop_grace_s=10.0)


@pytest.fixture
def client(agent: Any) -> Client:
    return Client(("127.0.0.1", int(agent.config.environment["PORT"])))


def starts(agent: Any) -> list[str]:
    path = agent.service() / "data" / "starts"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def newest(agent: Any) -> Instance:
    instance = ServiceProcess(ServiceLayout(agent.service())).instance
    assert instance is not None
    return instance


async def test_a_switch_refuses_nobody_and_needs_no_permit(
    region: Any, agent: Any, client: Client, tmp_path: Path, until: Until
) -> None:
    a, b = (web(region, tmp_path, commit) for commit in "ab")
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    asked = len(region.asked)
    async with client.busy():
        await until(lambda: "a" in client.answers)
        (agent.service() / "data" / "sick-b").touch()
        goal = region.want(b, 2, baseline=a)
        await region.until(lambda: (told := region.reports["m1", "web"]).phase == "ACTIVATING" and told.running == a.ref)
        (agent.service() / "data" / "sick-b").unlink()
        report = await region.reported(goal, "ACTIVE")
        assert report.running == b.ref
        enough = len(client.answers) + 20
        await until(lambda: len(client.answers) >= enough)
    assert client.refusals == []
    assert set(client.answers) == {"a", "b"}
    assert set(client.answers[-10:]) == {"b"}, "the one before has ended"
    assert region.asked[asked:] == []
    assert agent.current() == b.files
    assert not (agent.service() / "run" / "leaving.json").exists()


async def test_the_one_before_has_the_time_to_finish_that_its_recipe_gives_it(
    region: Any, agents: Agents, tmp_path: Path
) -> None:
    port = free_ports(1, "127.0.0.1", random.Random())[0]
    agent, client = agents(environment={"PORT": str(port)}, stop_grace_s=0.1), Client(("127.0.0.1", port))
    a, b = (web(region, tmp_path, commit, drain_s=60.0) for commit in "ab")
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    busy = agent.service() / "data" / "busy-a"
    busy.touch()
    goal = region.want(b, 2, baseline=a)
    await region.until(lambda: region.reports["m1", "web"].waiting_for == f"{a.ref.artifact} to end, within 60 s")
    async with asyncio.timeout(15):  # until it has been told
        while await client.ask() != "b":
            pass
    assert {await client.ask() for _ in range(10)} == {"b"}, "it takes no connections any more"
    leaving = ServiceProcess(ServiceLayout(agent.service())).leaving
    assert leaving is not None
    assert spawning.alive(leaving.process)
    busy.unlink()
    await region.reported(goal, "ACTIVE")
    assert not spawning.alive(leaving.process)


async def test_only_the_one_in_service_has_that_time_where_another_comes_up_beside_it(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    agent = agents(environment={"PORT": str(free_ports(1, "127.0.0.1", random.Random())[0])}, stop_grace_s=0.5)
    a, b = (web(region, tmp_path, commit, drain_s=60.0) for commit in "ab")
    c = region.publish(tmp_path, {"version": "c"}, commit="c", activate="exec sleep 60", health="true")
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    data = agent.service() / "data"
    for held in ("sick-b", "busy-a", "busy-b"):
        (data / held).touch()
    region.want(b, 2, baseline=a)
    await until(lambda: "b" in starts(agent))
    goal = region.want(c, 3, baseline=a)
    await region.until(lambda: region.reports["m1", "web"].waiting_for == f"{a.ref.artifact} to end, within 60 s")
    (data / "busy-a").unlink()
    await region.reported(goal, "ACTIVE")
    assert starts(agent) == ["a", "b"]
    assert agent.current() == c.files


async def test_a_release_that_is_sick_beside_the_one_before_never_stops_it(
    region: Any, agent: Any, client: Client, tmp_path: Path, until: Until
) -> None:
    a, b = web(region, tmp_path, "a"), web(region, tmp_path, "b", health_timeout_s=4.0)
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    (agent.service() / "data" / "sick-b").touch()
    before = newest(agent)
    async with client.busy():
        report = await region.reported(region.want(b, 2, baseline=a), "FAILED")
        assert report.error.endswith("answered 503: b")
        await region.until(lambda: region.reports["m1", "web"].running == a.ref)
    assert client.refusals == []
    assert newest(agent) == before, "it was not even started again"
    assert starts(agent) == ["a", "b"]
    assert agent.current() == a.files


async def test_one_that_dies_is_started_again_and_who_connects_meanwhile_waits(
    region: Any, agent: Any, client: Client, tmp_path: Path
) -> None:
    await agent.start()
    await region.reported(region.want(web(region, tmp_path, "a"), 1), "ACTIVE")
    os.killpg(newest(agent).process.pid, 9)
    assert await asyncio.wait_for(client.ask(), 15) == "a"
    assert starts(agent) == ["a", "a"]


async def test_sockets_outlive_the_agent_and_a_change_of_what_they_are(
    region: Any, agent: Any, client: Client, tmp_path: Path
) -> None:
    await agent.start()
    a = web(region, tmp_path, "a")
    await region.reported(region.want(a, 1), "ACTIVE")
    await agent.stop()
    await agent.start()
    path = tmp_path / "web.sock"
    b = web(region, tmp_path, "b", sockets=("127.0.0.1:$PORT", str(path)))
    asked = len(region.asked)
    async with client.busy():
        await region.reported(region.want(b, 2, baseline=a), "ACTIVE")
    assert (client.refusals, region.asked[asked:]) == ([], [])
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    await region.reported(region.want(a, 3, baseline=a, rollback=True), "ACTIVE")
    assert not path.exists(), "nobody listens there any more"
    assert await client.ask() == "a"


async def test_hooks_come_in_an_order_that_a_balancer_understands(region: Any, agent: Any, tmp_path: Path) -> None:
    note = 'echo "$FLEETCAST_HOOK $FLEETCAST_FROM $FLEETCAST_TO" >> "$FLEETCAST_DATA/hooks"'
    hooks = {"deactivate": Hook(note), "post_activate": Hook(note)}
    a, b = (web(region, tmp_path, commit, hooks=hooks) for commit in "ab")
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    await region.reported(region.want(b, 2, baseline=a), "ACTIVE")
    names = a.ref.artifact, b.ref.artifact
    assert (agent.service() / "data" / "hooks").read_text().splitlines() == [
        f"post_activate  {names[0]}",
        f"deactivate {names[0]} {names[1]}",
        f"post_activate {names[0]} {names[1]}",
    ]


async def test_an_address_that_somebody_else_has_is_named(region: Any, agent: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", int(agent.config.environment["PORT"]))):
        await agent.start()
        report = await region.reported(region.want(web(region, tmp_path, "a"), 1), "FAILED")
    port = agent.config.environment["PORT"]
    assert report.error == f"it cannot listen at 127.0.0.1:{port}: Address already in use: another process has it"


async def test_a_release_without_sockets_has_its_address_to_itself(region: Any, agent: Any, tmp_path: Path) -> None:
    await agent.start()
    a = web(region, tmp_path, "a")
    bind = "import os, socket, time; kept = socket.create_server(('127.0.0.1', int(os.environ['PORT']))); time.sleep(60)"
    b = web(
        region, tmp_path, "b", activate=f'exec {sys.executable} -S -c "{bind}"', sockets=(), probe=Probe(tcp="127.0.0.1:$PORT")
    )
    await region.reported(region.want(a, 1), "ACTIVE")
    await region.reported(region.want(b, 2, baseline=a), "ACTIVE")
    assert ServiceSockets(ServiceLayout(agent.service())).kept == ()
    await region.reported(region.want(a, 3, baseline=a), "ACTIVE")


@pytest.fixture
async def layout(tmp_path: Path) -> AsyncIterator[ServiceLayout]:
    """Of a service without an agent; nothing is kept for it at the end."""
    layout = MachineLayout(tmp_path / "alone").service(ServiceKey("production", "kept"))
    layout.make()
    yield layout
    await ServiceSockets(layout).keep_only(())
    await tidy(layout.run, ())


@pytest.mark.parametrize("following", ["more is kept", "nothing is kept", "services are stopped"])
async def test_a_keeper_that_does_not_end_when_another_takes_its_place_is_ended_later(
    layout: ServiceLayout, supervisor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, following: str
) -> None:
    async def refuse(*_: object) -> None:
        raise Refused("process_unkillable", "it survives SIGKILL")

    first, second = (f"127.0.0.1:{port}" for port in free_ports(2, "127.0.0.1", random.Random()))
    kept = ServiceSockets(layout, chosen(supervisor, 5.0))
    async with kept.opened((first,), own=False):
        before = kept.keeper
    assert before is not None
    with monkeypatch.context() as patch:
        patch.setattr(sockets, "end", refuse)
        with pytest.raises(Refused):
            async with kept.opened((first, second), own=False):
                pass
    assert spawning.alive(before.process), "two have the first socket now"
    if following == "more is kept":
        async with kept.opened((first, second), own=False):
            assert kept.kept == (first, second)
    elif following == "nothing is kept":
        await kept.keep_only(())
        assert kept.kept == ()
    else:
        await stop_services(tmp_path / "alone")
        assert kept.kept == ()
    assert not spawning.alive(before.process)


async def test_nothing_listens_where_everything_was_stopped(
    region: Any, agent: Any, client: Client, tmp_path: Path, until: Until
) -> None:
    await agent.start()
    await region.reported(region.want(web(region, tmp_path, "a"), 1), "ACTIVE")
    marker = f"FLEETCAST_KEEPER={agent.service()}/run".encode()
    assert [found for found in spawning.everybody() if spawning.carries(found.pid, marker)]
    await agent.stop()
    await stop_services(agent.config.root, 5.0)
    assert not [found for found in spawning.everybody() if spawning.carries(found.pid, marker)]
    with pytest.raises(ConnectionRefusedError):
        await client.ask()
    assert not list((agent.service() / "run").iterdir())
