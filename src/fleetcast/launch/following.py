"""A process follows its settings while it runs: what may change takes effect when the file is saved, the rest at the next
start, and a file that makes no sense changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import structlog

from fleetcast.launch.process import Listening, Serve
from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import SETTINGS_LOOK_INTERVAL_S

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wired:
    """A room that is ready to run."""

    serve: Serve
    settings: Any
    """What it was made from: one of the dataclasses of ``settings.py``."""
    live: Mapping[str, Callable[[Any], None]] = field(default_factory=dict)
    """Settings that may change while it runs, by key, with whom to tell the new value."""
    told_again: Callable[[], None] = lambda: None
    """Called when a process that was told to stop, and has not yet, is told once more."""


def following(wired: Wired, file: Path, read: Callable[[], Any], interval_s: float = SETTINGS_LOOK_INTERVAL_S) -> Serve:
    """``wired`` with somebody beside it who looks at ``file``. ``read`` gives its settings as that is now (``None``: the
    file has no such table any more), or raises :class:`FleetcastError`.
    """

    async def serve(stop: asyncio.Event, listening: Listening) -> None:
        watch = asyncio.create_task(_watch(wired, file, read, interval_s))
        try:
            await wired.serve(stop, listening)
        finally:
            watch.cancel()

    return serve


async def _watch(wired: Wired, file: Path, read: Callable[[], Any], interval_s: float) -> None:
    held, seen = wired.settings, None
    while True:
        # Whatever a text editor or a mounted volume does to a file, its number, size or time is another then.
        stamp = _stamp(file)
        if stamp != seen:
            seen = stamp
            try:
                new = read() or held
                _tell(wired, held, new)
                held = new
            except FleetcastError as error:
                log.warning("settings_refused", error=error.message, kept="those from before")
        await asyncio.sleep(interval_s)


def _tell(wired: Wired, held: Any, new: Any) -> None:
    """What changed, to whom it concerns."""
    for key in (each.name for each in fields(new)):
        before, now = getattr(held, key), getattr(new, key)
        if now == before:
            continue
        if key in wired.live:
            wired.live[key](now)
            log.info("setting_changed", setting=key, before=before, now=now)
        elif now != getattr(wired.settings, key):
            log.warning("setting_waits", setting=key, until="the next start of this process")


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What tells one state of a file from another; ``None``: it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
