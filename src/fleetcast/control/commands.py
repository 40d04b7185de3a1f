"""Running a command beside control: for so long at most, with the beginning of what it says, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    """Negative: the signal that killed it."""
    output: bytes
    complaint: bytes
    """What it said on standard error."""


def without_ours(environ: Mapping[str, str]) -> dict[str, str]:
    """Neither what is about us, nor what is about a repository that we happen to be started from."""
    return {name: value for name, value in environ.items() if not name.startswith(("FLEETCAST_", "GIT_"))}


async def run(command: Sequence[str], environment: Mapping[str, str], *, timeout_s: float, output_bytes_max: int) -> Ran:
    """In ``/``, without a terminal or input; its children end with it.

    Raises:
        TimeoutError: it took longer, and was killed.
        OSError: it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd="/",
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # no terminal to ask at, and helpers of its own end with it
    )
    try:
        async with asyncio.timeout(timeout_s):
            said = await asyncio.gather(_first(process.stdout, output_bytes_max), _first(process.stderr, output_bytes_max))
            code = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return Ran(code, *said)


async def _first(stream: asyncio.StreamReader | None, bytes_max: int) -> bytes:
    """All of a stream, of which the beginning is kept."""
    assert stream is not None
    kept = bytearray()
    while data := await stream.read(64 * 1024):
        kept += data[: bytes_max - len(kept)]
    return bytes(kept)
