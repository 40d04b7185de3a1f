"""What enters processes over TCP, whoever is at the other end: every byte of every connection, as the kernel counts it.

Nothing stands between those who talk, and nothing is estimated: a connection's count is what the kernel says when it is
destroyed, or in the end if it is still open. Which process a connection belongs to is told by the port that it was accepted
at, or is looked up in ``/proc`` while it is open; what could not be looked up in time is told apart, under no name.

Counted are the bytes of the streams, so everything that Fleetcast sends; headers of packets are not, nor is what a packet
carries for a second time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from lab.errors import LabError
from lab.sock_diag import LISTEN, SockDiag, Socket

LOOK_S: Final = 0.02
"""Between two looks at what is open: how long a connection lives for its owner to be surely known."""
SETTLE_S_MAX: Final = 10.0


@dataclass(frozen=True)
class Entered:
    """What came to one end of a connection."""

    process: str
    """Empty: not known, but it is connected to a port that one of the processes listens at."""
    local_port: int
    remote_port: int
    bytes: int


class Ledger:
    """From what the kernel tells to who received what (pure)."""

    def __init__(self, before: Iterable[Socket]) -> None:
        """``before``: what was open when the counting began; what these have received by then does not count."""
        self._sockets = {each.cookie: each for each in before}
        self._before = {each.cookie: each.received for each in self._sockets.values()}
        self._owners: dict[int, str] = {}
        self._looked_up: set[int] = set()
        self._gone: set[int] = set()

    def see(self, sockets: Iterable[Socket]) -> bool:
        """Note who is open and what they have received; whether there are some whose owner was not looked up yet."""
        there = [each for each in sockets if each.cookie not in self._gone]
        self._sockets.update((each.cookie, each) for each in there)
        return any(each.inode and each.cookie not in self._looked_up for each in self._sockets.values())

    def own(self, owners: Mapping[int, str]) -> None:
        """Names by inode, as they are now: looked up for all that was seen."""
        for cookie, each in self._sockets.items():
            if each.inode and cookie not in self._looked_up:
                self._looked_up.add(cookie)
                if each.inode in owners:
                    self._owners[cookie] = owners[each.inode]

    def bury(self, destroyed: Iterable[Socket]) -> None:
        """What they had received in the end stands."""
        for each in destroyed:
            self._sockets[each.cookie] = each
            self._gone.add(each.cookie)

    def missing(self, sockets: Iterable[Socket]) -> int:
        """How many are neither among ``sockets`` nor destroyed: more will be told of them."""
        return len(self._sockets.keys() - {each.cookie for each in sockets} - self._gone)

    @property
    def listening(self) -> dict[int, str]:
        """Names by the ports that they listen at."""
        listening = (
            (each.local_port, self._owners.get(cookie)) for cookie, each in self._sockets.items() if each.state == LISTEN
        )
        return {port: name for port, name in listening if name is not None}

    def entered(self) -> list[Entered]:
        """Of named processes, and of unknown ones that are connected to these."""
        doors = self.listening
        found = []
        for cookie, each in self._sockets.items():
            name = doors.get(each.local_port) or self._owners.get(cookie, "")
            received = each.received - self._before.get(cookie, 0)
            if received and (name or each.remote_port in doors):
                found.append(Entered(name, each.local_port, each.remote_port, received))
        return found


class Traffic:
    """Use as a context manager: counts from its beginning to its end; what was counted is there afterwards."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        """``processes``: process ids by name, of whoever talks; they listen already at the ports at which they do."""
        self._processes = processes
        self._ending = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> Traffic:
        try:
            self._diag = SockDiag()
        except OSError as error:
            raise LabError(f"this kernel does not count what sockets receive: {error}") from error
        try:
            self._ledger = Ledger(self._diag.sockets())
            self._ledger.own(self._owners())
            self._thread.start()
        except BaseException:
            self._diag.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join()
        with self._diag:
            if kind is None:
                self._settle()

    @property
    def listening(self) -> dict[int, str]:
        """Names by the ports that they listen at."""
        return self._ledger.listening

    def entered(self) -> list[Entered]:
        """Everything that was received, in no order."""
        return self._ledger.entered()

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._look()
                self._ledger.bury(self._diag.destroyed(LOOK_S))
        except Exception as error:  # whoever ends the counting is told
            self._error = error

    def _look(self) -> list[Socket]:
        sockets = self._diag.sockets()
        if self._ledger.see(sockets):
            self._ledger.own(self._owners())
        return sockets

    def _settle(self) -> None:
        """Until it is known of every connection what it received in the end. Raises :class:`LabError`."""
        deadline = time.monotonic() + SETTLE_S_MAX
        try:
            while self._error is None:
                sockets = self._look()
                self._ledger.bury(self._diag.destroyed(LOOK_S))
                if not (missing := self._ledger.missing(sockets)):
                    return
                if time.monotonic() > deadline:
                    raise LabError(f"the kernel did not tell what {missing} connections received")
        except OSError as error:
            self._error = error
        raise LabError(f"what entered could not be counted: {self._error}") from self._error

    def _owners(self) -> dict[int, str]:
        """Names by inode of each socket that one of the processes has open."""
        owners: dict[int, str] = {}
        for name, pid in self._processes.items():
            with suppress(OSError):  # it has ended
                for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                    with suppress(FileNotFoundError):  # closed meanwhile
                        kind, _, inode = str(descriptor.readlink()).partition(":")
                        if kind == "socket":
                            owners[int(inode.strip("[]"))] = name
        return owners
