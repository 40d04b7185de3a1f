"""One attempt to find out whether a service is well: over HTTP, by a connection, or by a command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fleetcast.agent import spawning
from fleetcast.agent.ending import end_carriers
from fleetcast.agent.gate import INSTANCE_VARIABLE
from fleetcast.agent.processes import last_line, last_lines
from fleetcast.agent.spawning import Account
from fleetcast.model.limits import FAILURE_LINE_CHARS_MAX, PROBE_ANSWER_BYTES_MAX
from fleetcast.model.lines import showable
from fleetcast.model.probe import Probe, filled_in
from fleetcast.stores import boots

_CHECK_VARIABLE: Final = "FLEETCAST_CHECK"
_RUN: Final = 'cd "$2" && exec /bin/sh -c "$1"'
_REASON_S: Final = 0.5
"""How long is waited for the words after a status that is not the right one."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What one release is asked. ``command`` empty, and no probe: nothing. Times in seconds."""

    command: str
    probe: Probe | None
    timeout_s: float
    """To come up."""
    interval_s: float
    """Between two attempts while it comes up."""
    settle_s: float
    directory: Path
    environment: Mapping[str, str]
    log: Path
    """The output of the newest attempt of a command."""
    account: Account | None = None
    """As whom a command runs."""

    @property
    def asks(self) -> bool:
        return bool(self.command) or self.probe is not None

    @property
    def grace_s(self) -> float:
        return self.probe.grace_s if self.probe is not None else 0.0

    @property
    def threshold(self) -> int:
        return self.probe.threshold if self.probe is not None else 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """``wrong``: why the attempt failed, one line for people; empty: it passed. ``output``: last lines of what says so."""

    wrong: str = ""
    output: tuple[str, ...] = ()


async def attempt(check: HealthCheck, instance: str) -> Verdict:
    """Ask once. ``instance``: of the process that is asked about. Safe to cancel: a command is killed."""
    probe = check.probe
    if probe is None:
        return await _command(check, check.command, instance)
    if probe.http or probe.tcp:
        return Verdict(await _answer(probe, check.environment))
    unit = f"exec systemctl is-active -- {shlex.quote(probe.unit)}" if probe.unit else ""
    try:
        async with asyncio.timeout(probe.timeout_s):
            return await _command(check, unit or check.command, instance)
    except TimeoutError:
        wrong = with_words(f"it did not end within {probe.timeout_s:g} s", last_line(check.log))
        return Verdict(wrong, last_lines(check.log))


async def _answer(probe: Probe, environment: Mapping[str, str]) -> str:
    """What is wrong with what a network address answers; empty: nothing."""
    asked = probe.http or probe.tcp
    try:
        asked = filled_in(asked, environment)
        async with asyncio.timeout(probe.timeout_s):
            return await (_http(asked, probe) if probe.http else _tcp(asked))
    except KeyError as error:
        return f"{asked} names ${error.args[0]}, which is not set"
    except TimeoutError:
        return f"{asked} did not answer within {probe.timeout_s:g} s"
    except OSError as error:
        named = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        return f"{asked} cannot be reached: {named}"


async def _http(url: str, probe: Probe) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        return f"{url} is no address"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    asked = f"GET {path} HTTP/1.1\r\nHost: {probe.host or parts.netloc}\r\nUser-Agent: fleetcast\r\nConnection: close\r\n\r\n"
    async with _connection(host, port) as (reader, writer):
        writer.write(asked.encode("latin-1", "replace"))
        first = (await reader.readline()).decode("latin-1")
        version, _, rest = first.partition(" ")
        status = rest[:3]
        if not (version.startswith("HTTP/") and status.isdigit()):
            return f"{url} does not speak HTTP" if first else f"{url} closed the connection without an answer"
        if int(status) == probe.status or (probe.status == 0 and 200 <= int(status) < 400):
            return ""
        return with_words(f"{url} answered {status}", await _words(reader))


async def _words(reader: asyncio.StreamReader) -> str:
    """The first line of the body, as far as it comes soon."""
    answer = b"\r\n"  # of the status line
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REASON_S):
            while len(answer) < PROBE_ANSWER_BYTES_MAX and (more := await reader.read(PROBE_ANSWER_BYTES_MAX)):
                answer += more
    body = showable(answer.partition(b"\r\n\r\n")[2][:PROBE_ANSWER_BYTES_MAX].decode(errors="replace"))
    return next((line.strip()[:FAILURE_LINE_CHARS_MAX] for line in body.split("\n") if line.strip()), "")


async def _tcp(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not (port.isdecimal() and int(port) < 65536):
        return f"{address} is no address"
    async with _connection(host.strip("[]"), int(port)):
        return ""


@contextlib.asynccontextmanager
async def _connection(host: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port, limit=PROBE_ANSWER_BYTES_MAX)
    try:
        yield reader, writer
    except ValueError as error:  # a line that is longer than the limit
        raise OSError("its answer is too long for HTTP") from error
    finally:
        writer.close()


async def _command(check: HealthCheck, command: str, instance: str) -> Verdict:
    code = await _exit_code(check, command, instance)
    if code == 0:
        return Verdict()
    # Now, for the next attempt begins its log anew and may be cut off before it says anything.
    return Verdict(with_words(f"it exited with {code}", last_line(check.log)), last_lines(check.log))


async def _exit_code(check: HealthCheck, command: str, instance: str) -> int:
    """Of one run of the command, in a session of its own that ends with it."""
    account = check.account
    launcher = ("/usr/bin/env", *account.launcher) if account is not None else ()
    arguments = (*launcher, "/bin/sh", "-c", _RUN, "fleetcast-health", command, str(check.directory))
    # With the instance's id a check that outlives a killed agent is ended together with its service.
    environment = {**check.environment, INSTANCE_VARIABLE: instance, _CHECK_VARIABLE: str(check.log)}
    with open(os.devnull, "rb") as nothing, open(check.log, "wb") as output:
        if account is not None:
            os.fchown(output.fileno(), account.uid, -1)
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
    """End checks that an agent which was killed left running. ``log``: of the checks, by which they are known.

    Raises:
        Refused: one survives SIGKILL.
    """
    await end_carriers(f"{_CHECK_VARIABLE}={log}")


async def _reaped(process: spawning.ProcessId) -> None:
    """After SIGKILL: a moment, even for a task that is being cancelled."""
    await asyncio.shield(asyncio.ensure_future(spawning.ended(process)))


def with_words(text: str, words: str) -> str:
    """``text``, and what the thing that it speaks of said itself."""
    return f"{text}: {words}" if words else text


def age_s(started_ms: int) -> float:
    """Seconds since ``started_ms`` of the monotonic clock."""
    return (boots.uptime_ms() - started_ms) / 1000
