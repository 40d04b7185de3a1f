"""Ending what an agent left running, for whoever removes a machine's directory (a demo, a decommissioned host)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from fleetcast.agent import spawning
from fleetcast.agent.layout import MachineLayout
from fleetcast.agent.processes import ServiceProcess
from fleetcast.agent.sockets import ServiceSockets
from fleetcast.agent.supervisor import tidy
from fleetcast.model.limits import STOP_GRACE_S


async def stop_services(root: Path, grace_s: float = STOP_GRACE_S, waiting: Callable[[str], None] = lambda _line: None) -> int:
    """Stop every process that an agent with this root directory has started; how many services had one.

    No agent may be running there. ``waiting`` is told, before anything is stopped, what may take longer than ``grace_s``.

    Raises:
        Refused: a process survives SIGKILL.
    """
    layout = MachineLayout(root)
    processes = {key: ServiceProcess(layout.service(key)) for key in layout.services()}
    started = [process for process in processes.values() if process.instance is not None or process.leaving is not None]
    for key, process in processes.items():
        if (within_s := _drains(process)) > grace_s:
            waiting(f"{key.service} ({key.environment}) in {root} to end, within {within_s:g} s")
    await asyncio.gather(*(process.stop(grace_s, drain=True) for process in started))
    await asyncio.gather(*(_close(ServiceSockets(layout.service(key))) for key in layout.services()))
    await asyncio.gather(*(tidy(layout.service(key).run, ()) for key in layout.services()))
    return len(started)


async def _close(sockets: ServiceSockets) -> None:
    """Whoever keeps them: keepers that were replaced and did not end are on no record."""
    await sockets.end_leftovers()
    await sockets.keep_only(())


def _drains(process: ServiceProcess) -> float:
    """How many seconds what runs of it may take to end, by its own word; 0: no longer than anything."""
    runs = (found for found in (process.instance, process.leaving) if found is not None and spawning.alive(found.process))
    return max((instance.drain_s for instance in runs), default=0.0)
