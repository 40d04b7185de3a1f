"""One supervised process: started, started again when it ends by itself, stopped when told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from fleetcast.agent.logs import bound_log
from fleetcast.launch.restarts import Restarts, after_end
from fleetcast.model.errors import FleetcastError, Invalid, NotFound, Refused, Unavailable
from fleetcast.model.limits import PROCESS_LOG_BYTES_MAX, PROCESS_LOG_LOOK_INTERVAL_S

NOT_STARTED: Final = 127
"""In place of an exit code; as a shell has it."""
READY_POLL_S: Final = 0.05
_TOLD: Final = re.compile(r"fleetcast: (?P<message>.*) \[(?P<code>\w+)\]")
_KINDS: Final[Mapping[int, type[FleetcastError]]] = {kind.exit_code: kind for kind in (Invalid, NotFound, Refused)}


@dataclass(frozen=True, slots=True)
class ChildSpec:
    name: str
    """For people and file names, for instance ``agent-local-1``."""
    argv: tuple[str, ...]
    """Without ``--ready-file`` and ``--lifeline``, which the supervisor adds."""
    tier: int
    """Lower tiers are ready before higher ones start, and stopped after them."""


@dataclass(frozen=True, slots=True)
class ChildEvent:
    """Something happened to a process. ``what`` is ``started``, ``ready``, ``ended`` or ``gave up``."""

    child: str
    what: str
    detail: str = ""


class Child:
    """The place of one process in a supervisor. All methods are for one event loop."""

    def __init__(
        self,
        spec: ChildSpec,
        run_directory: Path,
        environment: Mapping[str, str],
        lifeline: int,
        tell: Callable[[ChildEvent], None],
    ) -> None:
        self.spec = spec
        self.ready: asyncio.Future[Mapping[str, str]] = asyncio.get_running_loop().create_future()
        """The addresses of the first start; fails when that one ended before it was ready."""
        self.pid: int | None = None
        self._output = run_directory / f"{spec.name}.log"
        self._ready_file = run_directory / f"{spec.name}.ready"
        self._environment = environment
        self._lifeline = lifeline
        self._tell = tell
        self._was_ready = False
        self._stopping = asyncio.Event()

    async def supervise(self) -> None:
        """Keep the process running until :meth:`stop`, or until it ends before it was ever ready."""
        restarts = Restarts()
        while not self._stopping.is_set():
            started = time.monotonic()
            code = NOT_STARTED
            try:
                code = await self._run_once()
                ending = _ending(code)
            except OSError as error:
                ending = f"could not be started ({error})"
            if self._stopping.is_set():
                return
            decision = after_end(replace(restarts, was_ready=self._was_ready), time.monotonic() - started)
            restarts = decision.after
            if decision.delay_s is None:
                self._give_up(code, ending)
                return
            self._tell(ChildEvent(self.spec.name, "ended", f"{ending}, starting it again in {decision.delay_s:g} s"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(decision.delay_s):
                    await self._stopping.wait()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send a signal; the process is not started again."""
        self._stopping.set()
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _run_once(self) -> int:
        self._ready_file.unlink(missing_ok=True)
        argv = (*self.spec.argv, "--ready-file", str(self._ready_file), "--lifeline", str(self._lifeline))
        with open(self._output, "ab") as output:
            # A session of its own, so that a terminal's Ctrl-C reaches the supervisor alone, which knows the order.
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self._environment),
                pass_fds=(self._lifeline,),
                start_new_session=True,
            )
        self.pid = process.pid
        self._tell(ChildEvent(self.spec.name, "started", f"process {process.pid}"))
        if self._stopping.is_set():  # told to stop while it was being started
            self.stop()
        watches = [asyncio.create_task(self._await_ready()), asyncio.create_task(self._keep_log_bounded())]
        try:
            return await process.wait()
        finally:
            self.pid = None
            for watch in watches:
                watch.cancel()

    async def _keep_log_bounded(self) -> None:
        """From the beginning: one that never gets ready may complain of that for days."""
        while True:
            with contextlib.suppress(OSError):  # such as a disk that has no room for the copy: later it may
                await asyncio.to_thread(bound_log, self._output, PROCESS_LOG_BYTES_MAX)
            await asyncio.sleep(PROCESS_LOG_LOOK_INTERVAL_S)

    async def _await_ready(self) -> None:
        while (told := _read_ready(self._ready_file)) is None:  # noqa: ASYNC110 -- a file has no event to wait for
            await asyncio.sleep(READY_POLL_S)
        addresses = {key: str(value) for key, value in told.items()}
        self._tell(ChildEvent(self.spec.name, "ready", addresses.get("api", "")))
        self._was_ready = True
        if not self.ready.done():
            self.ready.set_result(addresses)

    def _give_up(self, code: int, ending: str) -> None:
        """Tell what it said of itself (``cli/main.py`` prints that), or where it may have said something."""
        words = self._last_words()
        told = _TOLD.fullmatch(words)
        kind = _KINDS.get(code, Unavailable)
        if told is not None:
            error = kind(told["code"], f"{self.spec.name} cannot start: {told['message']}")
        else:
            where = f"{words} (more in {self._output})" if words else f"see {self._output}"
            error = kind("child_failed", f"{self.spec.name} {ending} before it was ready: {where}")
        self._tell(ChildEvent(self.spec.name, "gave up", f"its log: {self._output}"))
        if not self.ready.done():
            self.ready.set_exception(error)

    def _last_words(self) -> str:
        """The last line of its output."""
        with contextlib.suppress(OSError):
            return (self._output.read_text(errors="replace").strip().splitlines() or [""])[-1]
        return ""


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _read_ready(file: Path) -> dict[str, object] | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, object])
    except FileNotFoundError:
        return None
