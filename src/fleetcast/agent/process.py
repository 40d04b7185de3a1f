"""The agent process: opens what it needs, runs until told to stop, and leaves what it started running."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from fleetcast.agent.clock import RegionClock
from fleetcast.agent.config import AgentConfig
from fleetcast.agent.layout import MachineLayout
from fleetcast.agent.loop import AgentLoop
from fleetcast.agent.region import RegionClient, SwarmDoor
from fleetcast.artifacts.signing import load_public
from fleetcast.http.session import Session
from fleetcast.model.errors import Refused
from fleetcast.swarm.peer import SwarmPeer

log = structlog.get_logger(__name__)


async def serve(config: AgentConfig, stop: asyncio.Event, listening: Callable[[Mapping[str, str]], None]) -> None:
    """Run an agent until ``stop`` is set. ``listening`` is called once with ``{"peer": "host:port"}``.

    Raises:
        Refused: another agent uses the same root directory.
        Invalid: a worker's public key cannot be read.
    """
    keys = [load_public(path) for path in config.worker_public_keys]
    config.root.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_alone(MachineLayout(config.root).lock))
        session = Session(config.region_url, config.token)
        stack.push_async_callback(session.aclose)
        region = RegionClient(session)
        door = SwarmDoor(region, asyncio.get_running_loop())
        clock = RegionClock()
        machine = config.machine if config.rack_bias else replace(config.machine, zone="", rack="")
        peer = SwarmPeer(machine, config.peer_host, config.peer_port, door, lambda: clock.now_ms() / 1000, config.bandwidth)
        # In a thread: its own threads end only when their calls through the door have, and those need this loop.
        stack.push_async_callback(asyncio.to_thread, peer.close)
        await asyncio.to_thread(peer.start)
        loop = AgentLoop(config, region, peer, keys, clock)
        await _until(stop, loop, lambda: listening({"peer": f"{config.peer_host}:{peer.port}"}))
    log.info("agent_stopped", machine=config.machine.id)


async def _until(stop: asyncio.Event, loop: AgentLoop, ready: Callable[[], None]) -> None:
    running = asyncio.create_task(loop.run(ready))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        stopping.cancel()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock of a root directory; it is gone with the process, however that ends."""
    with open(lock, "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("agent_running", f"another agent uses {lock.parent}: stop it, or choose another directory") from None
        yield
