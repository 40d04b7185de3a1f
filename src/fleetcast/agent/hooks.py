"""Running the hooks of releases: each in a session of its own that is ended whole, at its time limit at the latest.

A hook of a killed agent is ended by the next one, before that begins anything: its record is written like that of a service's
process. So a hook may be cut off and run again, and is never run beside itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from fleetcast.agent import records, spawning
from fleetcast.agent.ending import end
from fleetcast.agent.gate import Instance, Start, start_at_gate
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.logs import bound_log
from fleetcast.agent.processes import last_lines
from fleetcast.agent.spawning import Account
from fleetcast.agent.uninterrupted import to_the_end
from fleetcast.model.hooks import Hook, HookName
from fleetcast.model.limits import HOOK_END_GRACE_S, HOOK_LOG_BYTES_MAX, HOOK_LOG_LOOK_S

log = structlog.get_logger(__name__)


class HookFailed(Exception):
    """The message is one line, for people; ``output``: the last lines that the hook printed."""

    def __init__(self, message: str, output: tuple[str, ...]) -> None:
        super().__init__(f"{message}: {output[-1]}" if output else message)
        self.output = output


class HookRunner:
    """The hooks of one service on this machine. Of each name one at a time."""

    def __init__(self, layout: ServiceLayout) -> None:
        self._layout = layout
        self._under_way: dict[HookName, str] = {}

    @property
    def under_way(self) -> str:
        """What runs now, for people; empty: nothing."""
        return next((f"{name} of {artifact}" for name, artifact in self._under_way.items()), "")

    async def end_leftovers(self) -> None:
        """End what hooks of an agent that was killed have left running. To be called before the first :meth:`run`.

        Raises:
            Refused: something survives SIGKILL.
        """
        for name in HookName:
            record = self._record(name)
            instance = records.read_if_whole(record, Instance)
            if instance is not None:
                await end(instance, HOOK_END_GRACE_S)
            record.unlink(missing_ok=True)

    async def run(
        self,
        name: HookName,
        hook: Hook,
        artifact: str,
        directory: Path,
        environment: Mapping[str, str],
        account: Account | None = None,
    ) -> None:
        """Run a hook to its end, as ``account``. Safe to cancel: then everything that it started is ended.

        Raises:
            HookFailed: it exited with another code than 0, was killed, or did not end in time.
            OSError, Refused: this machine is in the way.
        """
        log_file, started_s = self._layout.log / f"{name}.log", time.monotonic()
        with open(log_file, "ab") as file:
            file.write(f"== {name} of {artifact}, {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n".encode())
        self._under_way[name] = artifact
        start = Start(
            run=self._layout.run,
            record=self._record(name),
            log=log_file,
            activation=artifact,
            command=hook.command,
            directory=directory,
            environment=environment,
            account=account,
        )
        instance = start_at_gate(start)
        outcome: str = "was cut off"
        said: tuple[str, ...] = ()
        try:
            outcome = await self._outcome(instance, hook, log_file)
            said = last_lines(log_file, instance.log_offset)
        finally:
            await to_the_end(self._put_away(name, instance))
            self._under_way.pop(name, None)
            took_s = time.monotonic() - started_s
            log.info("hook_ended", hook=name, release=artifact, outcome=outcome or "well", took_s=round(took_s, 3))
            with open(log_file, "ab") as file:
                file.write(f"== {outcome or 'exited with 0'} after {took_s:.1f} s\n".encode())
        if outcome:
            raise HookFailed(f"{name} {outcome}", said)

    async def _outcome(self, instance: Instance, hook: Hook, log_file: Path) -> str:
        """How it failed; empty: it did not."""
        bounding = asyncio.create_task(_bounded(log_file))
        try:
            async with asyncio.timeout(hook.timeout_s):
                code = await spawning.ended(instance.process)
        except TimeoutError:
            return f"did not end within {hook.timeout_s:g} s"
        finally:
            bounding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await bounding
        if code == 0:
            return ""
        return "was killed" if code is None or code < 0 else f"exited with {code}"

    async def _put_away(self, name: HookName, instance: Instance) -> None:
        await end(instance, HOOK_END_GRACE_S)
        for path in (self._record(name), *self._layout.run.glob(f"{instance.id}.*")):
            path.unlink(missing_ok=True)
        await asyncio.to_thread(bound_log, self._layout.log / f"{name}.log", HOOK_LOG_BYTES_MAX)

    def _record(self, name: HookName) -> Path:
        return self._layout.run / f"hook-{name}.json"


async def _bounded(log_file: Path) -> None:
    """Until cancelled, keep the log of a hook that runs from growing beyond its bound."""
    while True:
        await asyncio.sleep(HOOK_LOG_LOOK_S)
        await asyncio.to_thread(bound_log, log_file, HOOK_LOG_BYTES_MAX)
