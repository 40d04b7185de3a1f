"""The process of one service: started once, found again by the next agent, ended as a whole.

A service consists of the session of the shell at its gate (:mod:`fleetcast.agent.gate`), and of every process that carries its
instance id in its environment, which is how daemons that left the session are found. What leaves the session *and* clears its
environment escapes, unless the service is a unit of systemd: then it consists of everything in that unit as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import structlog

from fleetcast.agent import records, spawning
from fleetcast.agent.gate import Instance, Start, exit_file, stop_file
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.reconcile import ProcessStatus
from fleetcast.agent.spawning import NOTHING_PASSED, Account, Passed
from fleetcast.agent.supervisor import CHILDREN, Supervisor, end
from fleetcast.agent.uninterrupted import to_the_end
from fleetcast.model.limits import FAILURE_LINE_CHARS_MAX, FAILURE_LINES_MAX
from fleetcast.model.lines import showable
from fleetcast.stores import boots

log = structlog.get_logger(__name__)


class ServiceProcess:
    """What runs for one service. One agent at a time, from one task at a time."""

    def __init__(self, layout: ServiceLayout, supervisor: Supervisor = CHILDREN) -> None:
        """``supervisor``: of what is started from now on."""
        self._layout = layout
        self._supervisor = supervisor
        self._record = layout.run / "process.json"
        self._aside = layout.run / "leaving.json"
        self.instance: Instance | None = records.read_if_whole(self._record, Instance)
        """The newest; ``None``: nothing was ever started, or it was stopped."""
        self.leaving: Instance | None = records.read_if_whole(self._aside, Instance)
        """The one before it, which serves until the newest does; ``None``: there is none."""
        self.draining_s = 0.0
        """While what was in service is being ended, for how long that may last; 0: it is not."""

    @property
    def log(self) -> Path:
        return self._layout.log / "service.log"

    def status(self) -> ProcessStatus:
        """Whether it runs, by looking."""
        if self.instance is None:
            return ProcessStatus.IDLE
        if spawning.alive(self.instance.process):
            return ProcessStatus.UP
        # After a reboot even what had done its work is started again: it may have been a daemon that ended in good order.
        same_boot = self.instance.process.boot == boots.boot()
        return ProcessStatus.DONE if same_boot and self.exit_code() == 0 else ProcessStatus.DOWN

    def exit_code(self) -> int | None:
        """Of the newest instance; ``None``: it runs, was killed, or never passed its gate. 143 where it exited with 0 after
        somebody had sent it SIGTERM."""
        if self.instance is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            return int(exit_file(self._layout.run, self.instance.id).read_text())
        return None

    async def start(
        self,
        activation: str,
        command: str,
        directory: Path,
        environment: Mapping[str, str],
        passed: Passed = NOTHING_PASSED,
        account: Account | None = None,
        drain_s: float = 0.0,
    ) -> Instance:
        """Start ``command`` in ``directory``; its output is appended to the log. Nothing of this service may run but what is
        :attr:`leaving`. When the caller is cancelled it is started all the same.

        Raises:
            OSError, Refused: this machine is in the way.
        """
        return await to_the_end(
            self._start(
                Start(
                    run=self._layout.run,
                    record=self._record,
                    log=self.log,
                    activation=activation,
                    command=command,
                    directory=directory,
                    environment={**environment, **passed.environment},
                    passed=passed,
                    account=account,
                    drain_s=drain_s,
                    drain_s_max=max(drain_s, self.leaving.drain_s if self.leaving is not None else 0.0),
                )
            )
        )

    async def _start(self, start: Start) -> Instance:
        self.instance = instance = await self._supervisor.start(start)
        self._forget_others()
        log.info("process_started", service=str(self._layout.base), pid=instance.process.pid, instance=instance.id)
        return instance

    async def ended(self) -> None:
        """Wait until the newest instance has ended; at once when there is none."""
        if self.instance is not None:
            await spawning.ended(self.instance.process)

    async def stop(self, grace_s: float, *, drain: bool = False) -> None:
        """End everything that belongs to the service: SIGTERM, ``grace_s`` later SIGKILL. With ``drain`` as much later as an
        instance may take, where that was said when it was started.

        Raises:
            Refused: something survives SIGKILL for ``KILL_S_MAX`` seconds.
        """
        await asyncio.gather(self.end_newest(grace_s, drain=drain), self.end_leaving(grace_s, drain=drain))

    async def end_newest(self, grace_s: float, *, drain: bool = False) -> None:
        """End the newest instance. Raises as :meth:`stop`."""
        if self.instance is not None:
            stop_file(self._layout.run, self.instance.id).touch()
            await self._end(self.instance, grace_s, drain)
            self._record.unlink(missing_ok=True)
            self.instance = None
            self._forget_others()

    async def end_leaving(self, grace_s: float, *, drain: bool = False) -> None:
        """End the one before the newest. Raises as :meth:`stop`."""
        if self.leaving is not None:
            stop_file(self._layout.run, self.leaving.id).touch()
            await self._end(self.leaving, grace_s, drain)
            self._aside.unlink(missing_ok=True)
            self.leaving = None
            self._forget_others()

    def step_aside(self) -> None:
        """What is the newest instance makes room for another one, and goes on until :meth:`end_leaving`."""
        if self.instance is not None:
            self._record.replace(self._aside)
            self.leaving, self.instance = self.instance, None

    async def come_back(self, grace_s: float) -> None:
        """The newest instance ends, and the one before it is the newest again. Raises as :meth:`stop`."""
        await self.end_newest(grace_s)
        if self.leaving is not None:
            self._aside.replace(self._record)
            self.leaving, self.instance = None, self.leaving

    def last_words(self) -> str:
        """The last line the newest instance wrote, at most 500 characters; empty: none."""
        return last_line(self.log, self.instance.log_offset if self.instance else 0)

    def last_lines(self) -> tuple[str, ...]:
        """The last lines the newest instance wrote; see :func:`last_lines`."""
        return last_lines(self.log, self.instance.log_offset if self.instance else 0)

    async def _end(self, instance: Instance, grace_s: float, drain: bool) -> None:
        within_s = (instance.drain_s if drain else 0.0) or grace_s
        self.draining_s = within_s if drain else 0.0
        try:
            await end(instance, within_s)
        finally:
            self.draining_s = 0.0

    def _forget_others(self) -> None:
        known = {instance.id for instance in (self.instance, self.leaving) if instance is not None}
        for path in self._layout.run.iterdir():
            if path.suffix in (".exit", ".stop") and path.stem not in known:
                path.unlink(missing_ok=True)


def last_line(path: Path, offset: int = 0) -> str:
    """The last non-empty line of a text file after ``offset``, cut to 500 characters; empty when there is none."""
    return next((line.strip()[:500] for line in reversed(_lines(path, offset, 4096)) if line.strip()), "")


def last_lines(path: Path, offset: int = 0) -> tuple[str, ...]:
    """The last lines of a text file after ``offset`` that are not empty: at most ``FAILURE_LINES_MAX``, each cut to
    ``FAILURE_LINE_CHARS_MAX`` characters."""
    text = showable("\n".join(_lines(path, offset, FAILURE_LINES_MAX * FAILURE_LINE_CHARS_MAX * 4)))
    said = [line.rstrip()[:FAILURE_LINE_CHARS_MAX] for line in text.split("\n") if line.strip()]
    return tuple(said[-FAILURE_LINES_MAX:])


def _lines(path: Path, offset: int, bytes_max: int) -> list[str]:
    """The end of a text file, none of it from before ``offset`` unless it was cut since."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(offset if offset <= size else 0, size - bytes_max))
            return file.read(bytes_max).decode(errors="replace").split("\n")
    except FileNotFoundError:
        return []
