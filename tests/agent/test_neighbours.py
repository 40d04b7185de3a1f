"""Two services on one machine: what becomes of one is nothing to the other."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent import probing
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.processes import Instance, ServiceProcess
from fleetcast.launch.ports import free_ports
from fleetcast.model.errors import Refused
from fleetcast.model.hooks import Hook
from fleetcast.model.probe import Probe

Until = Callable[[Callable[[], bool]], Awaitable[None]]
Agents = Callable[..., Any]

# Says at every socket who it is, and what it was given.
PROGRAM = """
import os, select, socket
listening = [socket.socket(fileno=3 + number) for number in range(int(os.environ["LISTEN_FDS"]))]
print("serving as", os.environ["NAME"], flush=True)
while True:
    for ready in select.select(listening, [], [])[0]:
        connection, _ = ready.accept()
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 200 OK\\r\\n\\r\\n{os.environ['NAME']}".encode())
        connection.close()
"""


def made(region: Any, source: Path, service: str, commit: str, port: int, **more: Any) -> Any:
    recipe = {
        "activate": f"exec {sys.executable} -S server.py",
        "sockets": (f"127.0.0.1:{port}",),
        "probe": Probe(http="http://$FLEETCAST_HEALTH/", interval_s=0.25),
        "health_timeout_s": 10.0,
        "environment": {"NAME": f"{service} {commit}"},
        **more,
    }
    return region.publish(source, {"server.py": PROGRAM, "version": commit}, service=service, commit=commit, **recipe)


def process(agent: Any, service: str) -> Instance:
    instance = ServiceProcess(ServiceLayout(agent.service(service))).instance
    assert instance is not None
    return instance


async def asked(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        return (await reader.read()).partition(b"\r\n\r\n")[2].decode()
    finally:
        writer.close()


def files(agent: Any, service: str) -> dict[str, bytes]:
    """What one service has on disk beside its releases."""
    places = (agent.service(service) / name for name in ("data", "log", "run"))
    return {str(path): path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()}


FAILING: dict[str, dict[str, Any]] = {
    "it is not healthy": {"probe": Probe(http="http://$FLEETCAST_HEALTH/", status=500), "health_timeout_s": 0.5},
    "it exits": {"activate": "exit 3"},
    "its hook fails": {"hooks": {"pre_activate": Hook("exit 3")}},
    "nobody made its user": {"user": "no-such-user"},
    "it writes without end": {"activate": "yes | head -c 3000000; exit 1"},
}


@pytest.mark.parametrize("failing", FAILING)
async def test_one_that_fails_leaves_the_other_alone(failing: str, region: Any, agents: Agents, tmp_path: Path) -> None:
    ports = free_ports(2, "127.0.0.1", random.Random())
    agent = agents()
    await agent.start()
    web = made(region, tmp_path, "web", "a", ports[0])
    shop = made(region, tmp_path, "shop", "a", ports[1])
    goals = [region.want(each, 1) for each in (web, shop)]
    for goal in goals:
        await region.reported(goal, "ACTIVE")
    assert [await asked(port) for port in ports] == ["web a", "shop a"]
    before, had = process(agent, "shop"), files(agent, "shop")

    await region.reported(
        region.want(made(region, tmp_path, "web", "b", ports[0], **FAILING[failing]), 2, baseline=web), "FAILED"
    )
    await region.until(lambda: region.reports["m1", "web"].running == web.ref)
    assert [await asked(port) for port in ports] == ["web a", "shop a"]
    assert (process(agent, "shop"), files(agent, "shop")) == (before, had)
    assert (region.reports["m1", "shop"].phase, region.reports["m1", "shop"].error) == ("ACTIVE", "")


async def test_one_that_dies_or_is_removed_leaves_the_other_alone(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    ports = free_ports(2, "127.0.0.1", random.Random())
    agent = agents()
    await agent.start()
    web = made(region, tmp_path, "web", "a", ports[0])
    shop = made(region, tmp_path, "shop", "a", ports[1])
    for goal in [region.want(each, 1) for each in (web, shop)]:
        await region.reported(goal, "ACTIVE")
    before, had = process(agent, "shop"), files(agent, "shop")
    os.killpg(process(agent, "web").process.pid, 9)
    assert await asyncio.wait_for(asked(ports[0]), 15) == "web a"
    region.want(web, 2, removed=True)
    await region.until(lambda: region.reports["m1", "web"].removed and region.reports["m1", "web"].phase == "ACTIVE")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[0]))
    assert await asked(ports[1]) == "shop a"
    assert (process(agent, "shop"), files(agent, "shop")) == (before, had)
    log = {name: (agent.service(name) / "log" / "service.log").read_text() for name in ("web", "shop")}
    assert (log["web"].count("serving as web a\n"), log["shop"]) == (2, "serving as shop a\n")
    assert "shop" not in log["web"]


async def test_what_one_has_left_running_and_cannot_be_ended_keeps_no_other_from_being_deployed(
    region: Any, agents: Agents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = free_ports(2, "127.0.0.1", random.Random())
    agent = agents()
    await agent.start()
    web, shop = (made(region, tmp_path, service, "a", port) for service, port in zip(("web", "shop"), ports, strict=True))
    for goal in [region.want(each, 1) for each in (web, shop)]:
        await region.reported(goal, "ACTIVE")
    await agent.stop()
    left = {str(agent.service("web") / "log" / "health.log")}

    async def end_leftovers(log: Path) -> None:
        if str(log) in left:
            raise Refused("process_unkillable", "process 7 survives SIGKILL: look at it by hand")

    monkeypatch.setattr(probing, "end_leftovers", end_leftovers)
    await agent.start()
    newer = {service: made(region, tmp_path, service, "b", port) for service, port in zip(("web", "shop"), ports, strict=True)}
    await region.reported(region.want(newer["shop"], 2, baseline=shop), "ACTIVE")
    goal = region.want(newer["web"], 2, baseline=web)
    await region.until(lambda: "process 7 survives SIGKILL" in region.reports["m1", "web"].error)
    assert [await asked(port) for port in ports] == ["web a", "shop b"], "nothing is started beside what cannot be ended"
    left.clear()
    await region.reported(goal, "ACTIVE")
    assert region.reports["m1", "web"].error == ""
    assert [await asked(port) for port in ports] == ["web b", "shop b"]
