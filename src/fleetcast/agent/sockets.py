"""The listening sockets of one service: bound once, kept open by a process of their own, handed to each start of the service.

A service that dies, an agent that is killed, a release that takes the place of another: none of them closes a socket, so that
nobody who connects meanwhile is refused. They wait at the socket until somebody takes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shlex
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from fleetcast.agent import records, spawning
from fleetcast.agent.ending import end_carriers
from fleetcast.agent.gate import Instance, Start
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.spawning import Passed
from fleetcast.agent.supervisor import CHILDREN, Supervisor, end
from fleetcast.agent.uninterrupted import to_the_end
from fleetcast.agent.unit_text import SOCKETS
from fleetcast.model.limits import HOOK_END_GRACE_S, KEEPER_WAIT_S_MAX, SOCKET_BACKLOG, SOCKETS_MAX

log = structlog.get_logger(__name__)

_PROGRAM: Final = Path(__file__).with_name("keeper.py")
_KEEPER_VARIABLE: Final = "FLEETCAST_KEEPER"
_ADDRESSES_BYTES_MAX: Final = 1 << 16
_FREE_OF_TARGETS: Final = 64
"""Descriptors from here on are not those that a start hands on."""
_LOOK_S: Final = 0.02
_SOCKET_MODE: Final = 0o666
"""Of a unix socket: who may come to it is said by its directory."""


class CannotListen(Exception):
    """An address cannot be had; the message is one line, for people."""


class ServiceSockets:
    """One agent at a time, from one task at a time."""

    def __init__(self, layout: ServiceLayout, supervisor: Supervisor = CHILDREN) -> None:
        """``supervisor``: of the keepers that are started from now on."""
        self._layout = layout
        self._supervisor = supervisor
        self._record = layout.run / "keeper.json"
        self._keeper = records.read_if_whole(self._record, Instance)
        self._replaced: list[Instance] = []
        """Keepers whose place another one has taken, and that have not ended yet. On no record: the next agent ends them as
        leftovers."""

    @property
    def keeper(self) -> Instance | None:
        """The process that keeps them, as far as is on record."""
        return self._keeper

    @property
    def kept(self) -> tuple[str, ...]:
        """Addresses at which connections are taken whatever runs of the service."""
        keeper = self._keeper
        return keeper.sockets if keeper is not None and spawning.alive(keeper.process) else ()

    @property
    def _supervised(self) -> bool:
        """Whether what keeps them is what would be started for that now: a unit, or a child."""
        return self._keeper is not None and bool(self._keeper.unit) is self._supervisor.by_units

    async def end_leftovers(self) -> None:
        """End keepers that an agent which was killed had started and not put on record, or had not come to end.

        Raises:
            Refused: one survives SIGKILL.
        """
        spared = self._keeper.process.pid if self._keeper is not None and self.kept else None
        await end_carriers(f"{_KEEPER_VARIABLE}={self._layout.run}", spared_session=spared)

    @contextlib.asynccontextmanager
    async def opened(self, addresses: tuple[str, ...], *, own: bool) -> AsyncIterator[Passed]:
        """The sockets for one start, in this order, to be handed on inside the context. What is not kept yet is bound, and is
        kept from then on; what another supervisor keeps changes hands. ``own``: and one more at a free port of the loopback,
        which is that start's alone.

        Raises:
            CannotListen: an address is taken, or is none of this machine.
            OSError, Refused: this machine is in the way.
        """
        await self._end_replaced()
        held = await self._handed_over()
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: _close(held.values()))
            for address in addresses:
                if address not in held:
                    held[address] = await asyncio.to_thread(_bound, address)
            if held.keys() != set(self.kept) or not self._supervised:
                await self._keep(held)
            passed = {address: held[address] for address in addresses}
            if own:
                descriptor = _bound("127.0.0.1:0")
                stack.callback(os.close, descriptor)
                listening = socket.socket(fileno=os.dup(descriptor))
                with listening:
                    host, port = listening.getsockname()
                passed[f"{host}:{port}"] = descriptor
                yield Passed(tuple(passed.values()), addresses, f"{host}:{port}")
            else:
                yield Passed(tuple(passed.values()), addresses)

    async def keep_only(self, addresses: Iterable[str]) -> None:
        """Close all others. With none left nothing is kept.

        Raises:
            OSError, Refused: this machine is in the way.
        """
        await self._end_replaced()
        wanted = set(addresses)
        dropped = [address for address in self.kept if address not in wanted]
        if self._keeper is None or (self.kept and not dropped):
            return
        held = await self._handed_over()
        try:
            left = {address: descriptor for address, descriptor in held.items() if address in wanted}
            if left:
                await self._keep(left)
            else:
                await self._end(self._keeper)
                self._record.unlink(missing_ok=True)
                self._keeper = None
        finally:
            _close(held.values())
        for address in dropped:
            await asyncio.to_thread(_forget_path, address)

    async def _end(self, keeper: Instance) -> None:
        await end(keeper, HOOK_END_GRACE_S)
        for path in (self._layout.run / keeper.own_socket, *self._layout.run.glob(f"{keeper.id}.*")):
            path.unlink(missing_ok=True)

    async def _end_replaced(self) -> None:
        while self._replaced:
            await self._end(self._replaced[0])
            del self._replaced[0]

    async def _keep(self, held: Mapping[str, int]) -> None:
        name = f"{os.urandom(8).hex()}.keep"
        words = (sys.executable, "-I", "-S", str(_PROGRAM), name, *held)
        environment = {"PATH": "/usr/bin:/bin", _KEEPER_VARIABLE: str(self._layout.run)}
        start = Start(
            run=self._layout.run,
            record=self._record,
            log=self._layout.log / "keeper.log",
            activation="",
            command=f"exec {shlex.join(words)}",
            directory=self._layout.run,
            environment=environment,
            passed=Passed(tuple(held.values()), tuple(held), name),
            beside=SOCKETS,
        )
        await to_the_end(self._start(start))
        await self._end_replaced()

    async def _start(self, start: Start) -> None:
        before, self._keeper = self._keeper, await self._supervisor.start(start)
        if before is not None:
            # Noted first: it listens until it has ended, however often that fails.
            self._replaced.append(before)

    async def _handed_over(self) -> dict[str, int]:
        """From the keeper, by address; nothing when there is none."""
        keeper = self._keeper
        if keeper is None or not self.kept:
            return {}
        try:
            async with asyncio.timeout(KEEPER_WAIT_S_MAX):
                while True:
                    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                        return await asyncio.to_thread(_asked, self._layout.run, keeper.own_socket)
                    if not self.kept:
                        return {}
                    await asyncio.sleep(_LOOK_S)
        except (TimeoutError, OSError) as error:
            log.warning("keeper_silent", service=str(self._layout.base), error=str(error))
            return {}


def _asked(run: Path, name: str) -> dict[str, int]:
    directory = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(KEEPER_WAIT_S_MAX)
            # By way of the directory: the path of a socket must be short.
            asking.connect(f"/proc/self/fd/{directory}/{name}")
            said, descriptors, _, _ = socket.recv_fds(asking, _ADDRESSES_BYTES_MAX, SOCKETS_MAX * 2)
    finally:
        os.close(directory)
    return dict(zip(said.decode().split("\n"), map(_raised, descriptors), strict=True))


def _raised(descriptor: int) -> int:
    """The same out of the way of those that a start hands on, and for this process alone."""
    raised = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FREE_OF_TARGETS)
    os.close(descriptor)
    return raised


def _bound(address: str) -> int:
    """A listening socket. Blocking."""
    path = Path(address) if address.startswith("/") else None
    place: Any = address
    try:
        if path is not None:
            _forget_path(address)
            family = socket.AF_UNIX
        else:
            host, _, port = address.rpartition(":")
            family, _, _, _, place = socket.getaddrinfo(
                host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        with socket.socket(family) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            if path is not None:
                path.chmod(_SOCKET_MODE)
            listening.listen(SOCKET_BACKLOG)
            return _raised(listening.detach())
    except OSError as error:
        said = error.strerror or str(error)
        advice = ": another process has it" if error.errno == errno.EADDRINUSE else ""
        raise CannotListen(f"it cannot listen at {address}: {said}{advice}") from error


def _forget_path(address: str) -> None:
    """Nobody listens at the path of a unix socket any more."""
    if not address.startswith("/"):
        return
    path = Path(address)
    if path.is_socket() and not _answers(address):
        path.unlink(missing_ok=True)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(1)
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
