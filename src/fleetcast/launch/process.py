"""Running one of the four processes: signals, the supervisor's lifeline, the ready file."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import structlog
import uvloop

from fleetcast.model.limits import PROCESS_ORPHANED_S_MAX

log = structlog.get_logger(__name__)

Listening = Callable[[Mapping[str, str]], None]
Serve = Callable[[asyncio.Event, Listening], Coroutine[Any, Any, None]]


def run(
    serve: Serve,
    *,
    ready_file: Path | None = None,
    lifeline: int | None = None,
    told_again: Callable[[], None] = lambda: None,
) -> None:
    """Run ``serve`` until SIGINT or SIGTERM, or until the last writer of the pipe ``lifeline`` is gone. ``told_again`` is
    called for every such signal after the first.

    Once ``serve`` listens, ``ready_file`` holds its process id and addresses as JSON.
    """

    async def until_told() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: told_again() if stop.is_set() else stop.set())
        if lifeline is not None:
            _hold_on_to(lifeline, loop, stop)
        await serve(stop, lambda addresses: _tell_ready(addresses, ready_file))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_told())


def _hold_on_to(lifeline: int, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """A thread, so that it works while the loop is busy or stuck."""
    os.set_inheritable(lifeline, False)

    def wait_for_end() -> None:
        while os.read(lifeline, 1):
            pass
        log.warning("supervisor_gone")
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(stop.set)
        time.sleep(PROCESS_ORPHANED_S_MAX)
        os._exit(1)

    threading.Thread(target=wait_for_end, name="lifeline", daemon=True).start()


def _tell_ready(addresses: Mapping[str, str], ready_file: Path | None) -> None:
    # What is there by now stays: the collector need not look through it again and again.
    gc.freeze()
    log.info("listening", **addresses)
    if ready_file is not None:
        draft = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
        draft.write_text(json.dumps({"pid": os.getpid(), **addresses}))
        draft.replace(ready_file)
