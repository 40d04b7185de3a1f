"""Running a build's command: in a sandbox or, loudly, without one; watched for what it uses."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetcast.model.build import Recipe
from fleetcast.model.errors import Invalid
from fleetcast.model.limits import BUILD_LOOK_INTERVAL_S, BUILD_LOOK_SHARE_MAX, MIB
from fleetcast.model.messages.builds import ClaimedBuild
from fleetcast.worker.command import run_group
from fleetcast.worker.config import WorkerConfig
from fleetcast.worker.environment import build_environment, shown
from fleetcast.worker.log import AttemptLog
from fleetcast.worker.sandbox import HOME, SCRATCH, USER, BuildLimits, Places, Sandbox, sandboxed
from fleetcast.worker.sandbox_probe import Probe, give, prepare
from fleetcast.worker.usage import ask_to_end, broken_limit, measure

SIGNALLED: Final = 128
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Building:
    """How the builds of one slot are run."""

    config: WorkerConfig
    probe: Probe
    slot: int = 0

    def head(self) -> str:
        """The first line of a build's log: who keeps the build from the host, and the host from the build."""
        if self.probe.sandbox is None:
            return f"NO SANDBOX: this build can do on the worker's host whatever the worker can ({self.probe.says})"
        limits = self.config.build_limits
        return (
            f"sandbox: bubblewrap; at most {limits.memory_bytes / MIB:g} MiB of memory, "
            f"{limits.processes} processes and threads, {limits.disk_bytes / MIB:g} MiB of disk"
        )

    async def run(
        self, claimed: ClaimedBuild, recipe: Recipe, directory: Path, tree: Path, mirror: Path, log: AttemptLog
    ) -> None:
        """Run the recipe's command in ``tree``; ``directory`` is the attempt's.

        Raises:
            Invalid: it did not exit 0, or used more than it may.
        """
        assert recipe.build is not None
        sandbox, network = self.probe.sandbox, recipe.network is True
        home, scratch, accounts = await asyncio.to_thread(prepare, directory, sandbox.uid(self.slot) if sandbox else None)
        environment = build_environment(
            claimed,
            recipe,
            path=os.environ.get("PATH", DEFAULT_PATH),
            home=HOME if sandbox else str(home),
            scratch=SCRATCH if sandbox else str(scratch),
            user=USER if sandbox else os.environ.get("USER", USER),
            added=self.config.build_environment,
        )
        log.line(f"environment: {shown(environment)}")
        log.line(f"network: {_network(sandbox, network)}")
        log.line(f"build: {recipe.build}")
        command = ["/bin/sh", "-c", recipe.build]
        if sandbox is not None:
            places = Places(tree=str(tree), home=str(home), scratch=str(scratch), accounts=str(accounts), mirror=str(mirror))
            uid = sandbox.uid(self.slot)
            if uid is not None:
                await asyncio.to_thread(give, tree, uid)
            command = sandboxed(sandbox, places, command, slot=self.slot, environment=environment, network=network)
        code = await self._watched(command, {} if sandbox else environment, tree, (tree, home, scratch), log)
        if code != 0:
            raise Invalid("command_failed", f"the build command {ending(code)}: its log says why")

    async def _watched(
        self, command: list[str], environment: dict[str, str], tree: Path, places: tuple[Path, ...], log: AttemptLog
    ) -> int:
        """Its exit code. Raises :class:`Invalid`: it used more than it may."""
        pid: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        inside: dict[str, Callable[[int], object]] = {"ask": ask_to_end} if self.probe.sandbox is not None else {}
        running = asyncio.create_task(
            run_group(
                command,
                directory=tree,
                environment=environment,
                output=log.write,
                kill_grace_s=self.config.kill_grace_s,
                started=pid.set_result,
                **inside,
            )
        )
        watching = asyncio.create_task(_within_limits(pid, places, self.config.build_limits))
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                watching.result()
            return await running
        finally:
            for task in (watching, running):
                task.cancel()
            await asyncio.gather(watching, running, return_exceptions=True)


async def _within_limits(pid: asyncio.Future[int], places: tuple[Path, ...], limits: BuildLimits) -> None:
    """Look what a build uses again and again. Raises :class:`Invalid`: more than it may."""
    loop = asyncio.get_running_loop()
    process = await pid
    while True:
        began = loop.time()
        broken = broken_limit(await asyncio.to_thread(measure, process, places), limits)
        if broken is not None:
            raise Invalid("build_limit", broken)
        await asyncio.sleep(max(BUILD_LOOK_INTERVAL_S, (loop.time() - began) / BUILD_LOOK_SHARE_MAX))


def _network(sandbox: Sandbox | None, declared: bool) -> str:
    if sandbox is None:
        return "the worker's"
    return "the worker's, as its recipe declares" if declared else "none (the recipe can declare it: network = true)"


def ending(code: int) -> str:
    """How a command ended, in words. A shell and the sandbox exit with ``SIGNALLED`` and the number of a signal where one has
    ended what they ran; a command may exit so by itself."""
    if code < 0:
        return f"was ended by signal {-code}"
    number = code - SIGNALLED
    return f"exited {code}" + (f", as for what signal {number} has ended" if 0 < number < signal.NSIG else "")
