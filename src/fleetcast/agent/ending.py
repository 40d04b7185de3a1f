"""Ending all processes of one start of a command, whoever started it and wherever they went."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Final

import structlog

from fleetcast.agent import spawning
from fleetcast.agent.gate import INSTANCE_VARIABLE, Instance
from fleetcast.agent.spawning import ProcessFacts, ProcessId
from fleetcast.model.errors import Refused
from fleetcast.model.limits import KILL_S_MAX
from fleetcast.stores import boots

log = structlog.get_logger(__name__)

_POLL_S: Final = 0.05
_LOOK_S: Final = 0.02


async def end(instance: Instance, grace_s: float) -> None:
    """End all processes of an instance: SIGTERM, after ``grace_s`` seconds SIGKILL. Returns when none is left.

    Raises:
        Refused: something survives SIGKILL for ``KILL_S_MAX`` seconds.
    """
    if instance.process.boot != boots.boot():
        return
    if await _signalled_away(instance, signal.SIGTERM, grace_s):
        return
    log.warning("process_killed", pid=instance.process.pid, instance=instance.id, after_s=grace_s)
    if not await _signalled_away(instance, signal.SIGKILL, KILL_S_MAX):
        raise Refused("process_unkillable", f"process {instance.process.pid} survives SIGKILL: look at it by hand")


def members(instance: Instance) -> list[ProcessFacts]:
    """Every process of an instance that runs now; reads all of ``/proc``."""
    marker = f"{INSTANCE_VARIABLE}={instance.id}".encode()
    leader = instance.process
    # A session keeps its leader's number from being used again only while somebody is in it. So membership by number counts
    # while the leader lives; the marker counts always.
    led = spawning.alive(leader)
    # Nobody is older than the leader, from whom the marker comes: on a busy host most environments need not be read.
    return [
        found
        for found in spawning.everybody()
        if found.start_ticks >= leader.start_ticks
        and ((led and found.session == leader.pid) or spawning.carries(found.pid, marker))
    ]


async def end_carriers(marker: str, *, spared_session: int | None = None) -> None:
    """Kill every process that was started with the environment entry ``marker`` (``NAME=value``), and wait until none is left.

    Raises:
        Refused: something survives SIGKILL for ``KILL_S_MAX`` seconds.
    """
    entry = marker.encode()

    def found() -> list[ProcessFacts]:
        return [each for each in spawning.everybody() if each.session != spared_session and spawning.carries(each.pid, entry)]

    deadline = asyncio.get_running_loop().time() + KILL_S_MAX
    while left := await asyncio.to_thread(found):
        for each in left:
            spawning.signal_one(each.process, signal.SIGKILL)
        if asyncio.get_running_loop().time() > deadline:
            raise Refused("process_unkillable", f"process {left[0].pid} survives SIGKILL: look at it by hand")
        await asyncio.sleep(_LOOK_S)


async def _signalled_away(instance: Instance, number: signal.Signals, patience_s: float) -> bool:
    """Send a signal to everybody and wait. Whether nobody is left in the end.

    SIGTERM goes to each once: a second one means "at once" to many programs, and who is started to clean up should not get
    one at all. SIGKILL goes to whoever is there, until nobody is.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + patience_s
    told = False
    while True:
        # While the dead leader is ours and not reaped, its number is not free.
        spawning.reap(instance.process)
        again = number is signal.SIGKILL or not told
        grouped = again and spawning.signal_group(instance.process, number)
        left = await asyncio.to_thread(members, instance)
        if not left:
            return True
        for member in left:
            if again and not (grouped and member.group == instance.process.pid):
                spawning.signal_one(member.process, number)
        told = True
        if clock() >= deadline:
            return False
        left_s = max(0.0, deadline - clock())
        # While the leader is there somebody is left; only SIGKILL has something else to do meanwhile.
        patience_s = left_s if number is signal.SIGTERM else min(_POLL_S, left_s)
        await _leader_or(instance.process, patience_s, min(_POLL_S, left_s))


async def _leader_or(leader: ProcessId, patience_s: float, pause_s: float) -> None:
    """Until the leader ends, but no longer than ``patience_s``; for ``pause_s`` once it has ended."""
    if not spawning.alive(leader):
        await asyncio.sleep(pause_s)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            await spawning.ended(leader)
