"""Processes of this machine: starting one in a session of its own, knowing it again, waiting for its end.

Started by ``posix_spawn`` and waited for by pidfd, so that nothing here depends on being the parent: what an earlier agent
started is waited for in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetcast.model.listening import HEALTH_VARIABLE
from fleetcast.stores.boots import boot

_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process among all that ever run here: process numbers come again, these three together do not."""

    pid: int
    start_ticks: int
    """Since boot, as the kernel counts."""
    boot: str


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """From ``/proc/<pid>/stat``."""

    pid: int
    dead: bool
    """It has ended and waits to be reaped."""
    group: int
    session: int
    start_ticks: int

    @property
    def process(self) -> ProcessId:
        return ProcessId(self.pid, self.start_ticks, boot())


def facts(pid: int) -> ProcessFacts | None:
    """``None``: no such process."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name, in parentheses, may hold anything; after it come state, ppid, pgrp, session, ... and starttime as the 20th.
    fields = stat[stat.rindex(b")") + 2 :].split()
    dead = fields[0] in (b"Z", b"X")
    return ProcessFacts(pid, dead, group=int(fields[2]), session=int(fields[3]), start_ticks=int(fields[19]))


def identify(pid: int) -> ProcessId:
    """Raises :class:`ProcessLookupError`: it is gone."""
    found = facts(pid)
    if found is None:
        raise ProcessLookupError(pid)
    return found.process


def alive(process: ProcessId) -> bool:
    """Whether exactly this process runs."""
    if process.boot != boot():
        return False
    found = facts(process.pid)
    return found is not None and not found.dead and found.start_ticks == process.start_ticks


def everybody() -> Iterator[ProcessFacts]:
    """Every process of this machine that has not ended."""
    for path in _PROC.iterdir():
        if path.name.isdigit():
            found = facts(int(path.name))
            if found is not None and not found.dead:
                yield found


def carries(pid: int, marker: bytes) -> bool:
    """Whether a process was started with the environment entry ``marker`` (``NAME=value``). False for what we may not read."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return marker in environment.split(b"\0")


@dataclass(frozen=True, slots=True)
class Passed:
    """Listening sockets that a process is started with."""

    descriptors: tuple[int, ...] = ()
    """All above those that they become there, which are 3 and those after it, in this order."""
    sockets: tuple[str, ...] = ()
    """The addresses of the first of them, which are there before and after it."""
    own: str = ""
    """That of the last one, which is this process's alone; empty: there is none."""

    @property
    def environment(self) -> dict[str, str]:
        """As ``sd_listen_fds(3)`` has it, but for ``LISTEN_PID``, which the process alone can know."""
        if not self.sockets:
            return {}
        names = [address.rpartition("/" if address.startswith("/") else ":")[2].replace(":", "_") for address in self.sockets]
        told = {"LISTEN_FDS": str(len(self.descriptors)), "LISTEN_FDNAMES": ":".join(names)}
        return {**told, "LISTEN_FDNAMES": ":".join((*names, "health")), HEALTH_VARIABLE: self.own} if self.own else told


NOTHING_PASSED: Final = Passed()


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine as whom commands are run."""

    name: str
    uid: int
    gid: int
    home: str

    @property
    def launcher(self) -> tuple[str, ...]:
        """Words before a program that is to run as this user and no other, with this user's groups and without capabilities."""
        user = (f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups", "--inh-caps=-all")
        return ("setpriv", *user, "--")

    @property
    def environment(self) -> dict[str, str]:
        """What its commands see of it."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}


def spawn(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdin: int,
    output: int,
    descriptors: Sequence[int] = (),
) -> int:
    """Start a program as the leader of a new session and return its pid. It inherits these descriptors and no others.

    ``descriptors``: as in :class:`Passed`.

    Raises:
        OSError: it cannot be started.
    """
    _keep_descriptors()
    return os.posix_spawn(
        arguments[0],
        list(arguments),
        dict(environment),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
            *((os.POSIX_SPAWN_DUP2, descriptor, 3 + number) for number, descriptor in enumerate(descriptors)),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}),
    )


def _keep_descriptors() -> None:
    """What this process opens itself is not inherited anyway; what it was started with (a supervisor's pipe) is from here on
    not either.
    """
    for path in (_PROC / "self/fd").iterdir():
        with contextlib.suppress(OSError):
            if (descriptor := int(path.name)) > 2:
                os.set_inheritable(descriptor, False)


def reap(process: ProcessId) -> int | None:
    """Exit code (negative: the signal) of a child of ours that has ended; ``None`` when it is not ours or has not."""
    found = facts(process.pid)
    if found is None or not found.dead or found.start_ticks != process.start_ticks:
        return None
    try:
        pid, status = os.waitpid(process.pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if pid else None


async def ended(process: ProcessId) -> int | None:
    """Wait until exactly this process has ended; its exit code if it was our child and nobody reaped it before."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    try:
        # Looked at with the descriptor open: from here on the number cannot come to mean another process unnoticed.
        if alive(process):
            await _readable(descriptor)
    finally:
        os.close(descriptor)
    return reap(process)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await readable
    finally:
        loop.remove_reader(descriptor)


def signal_group(leader: ProcessId, number: signal.Signals) -> bool:
    """Send a signal to the process group of a leader, if that is still the one we know; whether it was.

    All of a group gets it at once, so that nobody slips through by forking.
    """
    if not alive(leader):
        return False
    try:
        os.killpg(leader.pid, number)
    except ProcessLookupError:
        return False
    return True


def signal_one(process: ProcessId, number: signal.Signals) -> None:
    """Send a signal to exactly this process; nothing happens when it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if alive(process):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
