"""Is what was started healthy? A command that exits 0 says so, if the process is still there a moment after its start; without
a command that moment alone does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetcast.agent import spawning
from fleetcast.agent.processes import INSTANCE_VARIABLE, ServiceProcess, last_line, last_lines
from fleetcast.agent.reconcile import ProcessStatus
from fleetcast.model.errors import Refused
from fleetcast.model.limits import KILL_S_MAX
from fleetcast.stores import boots

_CHECK_VARIABLE: Final = "FLEETCAST_CHECK"
_LOOK_S: Final = 0.02
_RUN: Final = 'cd "$2" && exec /bin/sh -c "$1"'


class Unhealthy(Exception):
    """The release did not come up; the message is one line, for people. ``output``: the last lines of what says so."""

    def __init__(self, message: str, output: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.output = output


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """``command`` empty: none. Times in seconds."""

    command: str
    timeout_s: float
    interval_s: float
    settle_s: float
    directory: Path
    environment: Mapping[str, str]
    log: Path
    """The output of the newest attempt."""


async def healthy(check: HealthCheck, process: ServiceProcess) -> None:
    """Return once the service is healthy. Safe to cancel: a running check is killed.

    Raises:
        Unhealthy: its process ended in failure first, or the time is over.
    """
    death = asyncio.create_task(_death(process))
    verdict = asyncio.create_task(_passes(check, process))
    try:
        await asyncio.wait({death, verdict}, return_when=asyncio.FIRST_COMPLETED)
        if death.done():
            death.result()
        await verdict
    finally:
        for task in (death, verdict):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Unhealthy):
                await task


async def _death(process: ServiceProcess) -> None:
    """Raises :class:`Unhealthy` when the process ends badly; returns when it has ended well."""
    await process.ended()
    if process.status() is ProcessStatus.DOWN:
        code = process.exit_code()
        how = "was killed" if code is None else f"exited with {code}"
        raise Unhealthy(_with_words(f"the process {how} before it was healthy", process.last_words()), process.last_lines())


async def _passes(check: HealthCheck, process: ServiceProcess) -> None:
    if not check.command:
        await _settled(check, process)
        return
    instance = process.instance.id if process.instance else ""
    outcome, words = "it does not end", ""
    output: tuple[str, ...] = ()
    try:
        async with asyncio.timeout(check.timeout_s):
            while True:
                code = await _attempt(check, instance)
                if code == 0:
                    break
                # Now, for the next attempt begins its log anew and may be cut off before it says anything.
                outcome, words, output = f"it exited with {code}", last_line(check.log), last_lines(check.log)
                await asyncio.sleep(check.interval_s)
    except TimeoutError:
        text = f"the health check did not pass within {check.timeout_s:g} s: {outcome}"
        raise Unhealthy(_with_words(text, words or last_line(check.log)), output or last_lines(check.log)) from None
    # A process that dies at once, say because another one has its port, may be outrun by a check that the other one answers.
    await _settled(check, process)


async def _settled(check: HealthCheck, process: ServiceProcess) -> None:
    """Until the process, if there is one, is ``settle_s`` old."""
    if process.instance is not None and process.status() is ProcessStatus.UP:
        age_s = (boots.uptime_ms() - process.instance.started_ms) / 1000
        await asyncio.sleep(max(0.0, check.settle_s - age_s))


async def _attempt(check: HealthCheck, instance: str) -> int:
    """Exit code of one run of the command, in a session of its own that ends with it."""
    arguments = ("/bin/sh", "-c", _RUN, "fleetcast-health", check.command, str(check.directory))
    # With the instance's id a check that outlives a killed agent is ended together with its service.
    environment = {**check.environment, INSTANCE_VARIABLE: instance, _CHECK_VARIABLE: str(check.log)}
    with open(os.devnull, "rb") as nothing, open(check.log, "wb") as output:
        process = spawning.identify(spawning.spawn(arguments, environment, stdin=nothing.fileno(), output=output.fileno()))
    try:
        code = await spawning.ended(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            # The leader is not reaped while it runs, so its number still names its group; leftovers of a check that has
            # ended carry the instance's id and go with the service.
            if spawning.alive(process):
                os.killpg(process.pid, signal.SIGKILL)
                await _reaped(process)
    return 1 if code is None else code


async def end_leftovers(log: Path) -> None:
    """End checks that an agent which was killed left running. ``log``: of the checks, by which they are known."""
    marker = f"{_CHECK_VARIABLE}={log}".encode()
    deadline = asyncio.get_running_loop().time() + KILL_S_MAX
    while left := await asyncio.to_thread(
        lambda: [each for each in spawning.everybody() if spawning.carries(each.pid, marker)]
    ):
        for found in left:
            spawning.signal_one(found.process, signal.SIGKILL)
        if asyncio.get_running_loop().time() > deadline:
            raise Refused("process_unkillable", f"process {left[0].pid} survives SIGKILL: look at it by hand")
        await asyncio.sleep(_LOOK_S)


async def _reaped(process: spawning.ProcessId) -> None:
    """After SIGKILL: a moment, even for a task that is being cancelled."""
    await asyncio.shield(asyncio.ensure_future(spawning.ended(process)))


def _with_words(text: str, words: str) -> str:
    return f"{text}: {words}" if words else text
