"""``fleetcast up``: the processes of an installation as children, in order, kept running, stopped together.

A pipe is their lifeline: each child holds its reading end, nobody but the supervisor the writing end. However the supervisor
ends, the kernel closes that, and the children see it and end too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fleetcast.launch.child import Child, ChildEvent, ChildSpec
from fleetcast.launch.settings import Settings
from fleetcast.model.errors import Unavailable
from fleetcast.model.limits import PROCESS_READY_S_MAX, PROCESS_STOP_S_MAX


def children(settings: Settings, file: Path) -> tuple[ChildSpec, ...]:
    """Every process the settings name, each to be started as ``python -m fleetcast NOUN --settings FILE``."""
    program = (sys.executable, "-m", "fleetcast")
    common = ("--settings", str(file), "--log-format", "json")
    control = [ChildSpec("control", (*program, "control", *common), 0)] if settings.control else []
    regions = [
        ChildSpec(f"region-{item.name}", (*program, "region", "--name", item.name, *common), 1) for item in settings.regions
    ]
    # Who stops all of it has little patience, and control is gone soon after: what runs is handed back at once.
    at_once = ("--drain-timeout", "0")
    workers = [
        ChildSpec(item.name, (*program, "worker", "--name", item.name, *at_once, *common), 2) for item in settings.workers
    ]
    agents = [
        ChildSpec(f"agent-{item.machine}", (*program, "agent", "--machine", item.machine, *common), 2)
        for item in settings.agents
    ]
    return (*control, *regions, *workers, *agents)


class Supervisor:
    """Starts, watches and stops children. For one event loop; :meth:`stop` must be called whatever :meth:`start` did."""

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        run_directory: Path,
        environment: Mapping[str, str],
        tell: Callable[[ChildEvent], None] = lambda _event: None,
    ) -> None:
        self._lifeline, self._lifeline_writer = os.pipe()
        self._children = [Child(spec, run_directory, environment, self._lifeline, tell) for spec in specs]
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of what runs now, by the child's name."""
        return {child.spec.name: child.pid for child in self._children if child.pid is not None}

    async def start(self) -> None:
        """Start everything, tier by tier, and wait until all of it is ready.

        Raises:
            Unavailable: a process ended before it was ready, or was not ready within ``PROCESS_READY_S_MAX``.
        """
        members: list[Child] = []
        try:
            async with asyncio.timeout(PROCESS_READY_S_MAX):
                for tier in sorted({child.spec.tier for child in self._children}):
                    members = [child for child in self._children if child.spec.tier == tier]
                    self._tasks += [asyncio.create_task(child.supervise(), name=child.spec.name) for child in members]
                    # Not by gather: when time is over that cancels who is waited for, and nobody could be named.
                    done, _ = await asyncio.wait([child.ready for child in members], return_when=asyncio.FIRST_EXCEPTION)
                    for ready in done:
                        ready.result()
        except TimeoutError:
            waiting = ", ".join(child.spec.name for child in members if not child.ready.done())
            raise Unavailable(
                "not_ready", f"not ready within {PROCESS_READY_S_MAX:g} s: {waiting}; look into its log"
            ) from None

    async def stop(self) -> None:
        """Stop everything, the highest tier first; what does not end in time is killed. Safe to call again."""
        for tier in sorted({child.spec.tier for child in self._children}, reverse=True):
            await self._stop_tier([child for child in self._children if child.spec.tier == tier])
        if not self._closed:
            self._closed = True
            os.close(self._lifeline_writer)
            os.close(self._lifeline)
        for child in self._children:
            if not child.ready.cancel() and not child.ready.cancelled():
                child.ready.exception()  # seen: asyncio need not complain of it

    async def _stop_tier(self, members: Sequence[Child]) -> None:
        names = {child.spec.name for child in members}
        tasks = [task for task in self._tasks if task.get_name() in names]
        for number, patience_s in ((signal.SIGTERM, PROCESS_STOP_S_MAX), (signal.SIGKILL, PROCESS_STOP_S_MAX)):
            for child in members:
                child.stop(number)
            if not tasks or not (await asyncio.wait(tasks, timeout=patience_s))[1]:
                return
