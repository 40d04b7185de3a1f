"""Running a program and everything it starts as one process group, of which nothing is left afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from fleetcast.worker.leftovers import PLACE_VARIABLE

READ_BYTES: Final = 64 * 1024
GROUP_LOOK_INTERVAL_S: Final = 0.02
GROUP_LOOK_INTERVAL_S_MAX: Final = 0.5
OUTPUT_GRACE_S: Final = 1.0
"""How long output is read on after the group has ended: somebody may have left the group and kept the pipe."""


async def run_group(
    arguments: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    output: Callable[[bytes], None],
    kill_grace_s: float,
    started: Callable[[int], object] = lambda pid: None,  # noqa: ARG005 -- called with the name
    ask: Callable[[int], object] = lambda pid: _signal(pid, signal.SIGTERM),
) -> int:
    """Run a program in a session of its own; ``output`` gets what it and its children write to stdout and stderr.

    Returns its exit code, negative for a signal, once it has ended. Whatever else is left in its group by then, or all of it
    when this call is cancelled, gets SIGTERM and, ``kill_grace_s`` later, SIGKILL. Who left the group, or outlives a killed
    worker, is found by :func:`~fleetcast.worker.leftovers.end_leftovers` of ``directory``.

    ``started`` is told the program's process id. ``ask`` replaces the SIGTERM for the group, where whoever should have it is
    not in the group.

    Raises:
        OSError: the program cannot be started.
    """
    readable, writable = os.pipe2(os.O_CLOEXEC)
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            cwd=directory,
            env={**environment, PLACE_VARIABLE: str(directory)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writable,
            stderr=writable,
            start_new_session=True,
        )
    except BaseException:
        os.close(readable)
        raise
    finally:
        os.close(writable)
    reading = asyncio.create_task(_read(readable, output))
    started(process.pid)
    try:
        return await _ended(process, reading)
    finally:
        ending = asyncio.create_task(_end_group(process.pid, kill_grace_s, reading, ask))
        # A second cancellation must not leave processes behind: the ending goes on by itself.
        await asyncio.shield(ending)
        await process.wait()


async def _ended(process: asyncio.subprocess.Process, reading: asyncio.Task[None]) -> int:
    """Its exit code. Where its output cannot be taken, as on a full disk, the error of that: it would only wait for room."""
    waiting = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait({waiting, reading}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
        return await waiting
    finally:
        waiting.cancel()


async def _end_group(group: int, kill_grace_s: float, reading: asyncio.Task[None], ask: Callable[[int], object]) -> None:
    # The number may belong to another group once all of ours are reaped; the kernel hands numbers out in turn, so that would
    # take a whole round of them within these few milliseconds.
    if _signal(group, 0):
        await asyncio.to_thread(ask, group)
    if not await _gone(group, kill_grace_s):
        _signal(group, signal.SIGKILL)
        await _gone(group, kill_grace_s)
    await asyncio.wait({reading}, timeout=OUTPUT_GRACE_S)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError):
        await reading


async def _gone(group: int, within_s: float) -> bool:
    """Whether nothing of the group runs. Nobody tells when a group becomes empty: it has to be looked at."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    wait_s = GROUP_LOOK_INTERVAL_S
    while _signal(group, 0) and _runs(group):
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, GROUP_LOOK_INTERVAL_S_MAX)
    return True


def _runs(group: int) -> bool:
    """Whether any of the group is more than a dead process that its parent has not reaped: that may never happen."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything; behind it come state, parent and group.
            state, _, member_of = status.read_bytes().rpartition(b") ")[2].split()[:3]
        except OSError:
            continue
        if int(member_of) == group and state not in (b"Z", b"X"):
            return True
    return False


def _signal(group: int, number: int) -> bool:
    """Whether there was anybody to send it to."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


async def _read(descriptor: int, output: Callable[[bytes], None]) -> None:
    """Hand on what comes through a pipe until its last writer has closed it. Owns the descriptor."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        while data := await reader.read(READ_BYTES):
            output(data)
    finally:
        transport.close()
