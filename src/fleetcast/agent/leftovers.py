"""Ending what an agent left running, for whoever removes a machine's directory (a demo, a decommissioned host)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fleetcast.agent.layout import MachineLayout
from fleetcast.agent.processes import ServiceProcess
from fleetcast.agent.sockets import ServiceSockets
from fleetcast.agent.supervisor import tidy
from fleetcast.model.limits import STOP_GRACE_S


async def stop_services(root: Path, grace_s: float = STOP_GRACE_S) -> int:
    """Stop every process that an agent with this root directory has started; how many services had one.

    No agent may be running there.

    Raises:
        Refused: a process survives SIGKILL.
    """
    layout = MachineLayout(root)
    processes = [ServiceProcess(layout.service(key)) for key in layout.services()]
    started = [process for process in processes if process.instance is not None or process.leaving is not None]
    await asyncio.gather(*(process.stop(grace_s, drain=True) for process in started))
    await asyncio.gather(*(ServiceSockets(layout.service(key)).keep_only(()) for key in layout.services()))
    await asyncio.gather(*(tidy(layout.service(key).run, ()) for key in layout.services()))
    return len(started)
