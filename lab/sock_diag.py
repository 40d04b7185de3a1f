"""The kernel's own records of TCP connections: those that are there, on request, and each that is destroyed, as it happens.

Linux's netlink family ``sock_diag`` (``linux/sock_diag.h``, ``linux/inet_diag.h``), which takes no privileges. It tells of this
process's network namespace.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from types import TracebackType
from typing import Final

LISTEN: Final = 10
"""As a state: a socket that accepts connections."""
ANSWER_S_MAX: Final = 10.0

_NETLINK_SOCK_DIAG: Final = 4
_BY_FAMILY: Final = 20
_ERROR, _DONE = 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_STATES: Final = (1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11) | 1 << LISTEN
"""Those in which a socket is a whole one: not a request for a connection, not the trace of one that is over."""
_INFO: Final = 2
"""The attribute that is a ``struct tcp_info``."""
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_DESTROYED: Final = 1 << 0 | 1 << 2
"""Multicast groups: TCP over IPv4, over IPv6."""
_BUFFER_BYTES: Final = 4 << 20

_HEADER: Final = Struct("=IHHII")
_ASK: Final = Struct("=BBBxI48x")
_MESSAGE: Final = Struct("=BBBB 2s2s 16s16s I Q IIII I")
_ATTRIBUTE: Final = Struct("=HH")
_NUMBER: Final = Struct("=i")
_RECEIVED: Final = Struct("=Q")
_RECEIVED_AT: Final = 128
"""Of ``tcpi_bytes_received`` in ``struct tcp_info``, since Linux 4.1."""


@dataclass(frozen=True)
class Socket:
    """One end of a connection, or a socket that accepts some."""

    cookie: int
    """Of all sockets since the machine's start only this one has it."""
    state: int
    local_port: int
    remote_port: int
    inode: int
    """By which a process's descriptors name it; 0: no process has it, or none any more."""
    received: int
    """Bytes of the stream that arrived in order, read or not. The end of a stream counts as one."""


def parse(datagram: bytes) -> Iterator[Socket | None]:
    """What a datagram tells; ``None``: that was the last of an answer. Raises OSError: an answer that is an error."""
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, *_ = _HEADER.unpack_from(datagram, at)
        body = datagram[at + _HEADER.size : at + length]
        if kind == _ERROR:
            number = -_NUMBER.unpack_from(body)[0]
            raise OSError(number, f"sock_diag: {os.strerror(number)}")
        if kind == _DONE:
            yield None
        elif kind == _BY_FAMILY:
            yield from _socket(body)
        at += _aligned(length)


def _socket(body: bytes) -> Iterator[Socket]:
    """None where the kernel has no counts: what is left of a connection that is over."""
    _, state, _, _, local, remote, _, _, _, cookie, _, _, _, _, inode = _MESSAGE.unpack_from(body)
    at = _MESSAGE.size
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if kind == _INFO and length >= _ATTRIBUTE.size + _RECEIVED_AT + _RECEIVED.size:
            (received,) = _RECEIVED.unpack_from(body, at + _ATTRIBUTE.size + _RECEIVED_AT)
            ports = int.from_bytes(local, "big"), int.from_bytes(remote, "big")
            yield Socket(cookie, state, *ports, inode, received)
            return
        at += max(_aligned(length), _ATTRIBUTE.size)


def _aligned(length: int) -> int:
    return length + 3 & ~3


class SockDiag:
    """Use as a context manager. From the beginning on it hears of what is destroyed. Raises OSError."""

    def __init__(self) -> None:
        self._asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
        self._asking.settimeout(ANSWER_S_MAX)
        self._hearing = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
        self._hearing.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._hearing.bind((0, _DESTROYED))

    def __enter__(self) -> SockDiag:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._asking.close()
        self._hearing.close()

    def sockets(self) -> list[Socket]:
        """Everything that is there."""
        found: list[Socket] = []
        for family in _FAMILIES:
            ask = _ASK.pack(family, socket.IPPROTO_TCP, 1 << (_INFO - 1), _STATES)
            self._asking.send(_HEADER.pack(_HEADER.size + len(ask), _BY_FAMILY, _REQUEST | _DUMP, 0, 0) + ask)
            while True:
                told = list(parse(self._asking.recv(_BUFFER_BYTES)))
                found += [each for each in told if each is not None]
                if None in told:
                    break
        return found

    def destroyed(self, wait_s: float) -> list[Socket]:
        """What was destroyed since the last call, with its last counts; waits for the first so long.

        Raises OSError (ENOBUFS) when it was more than the kernel keeps for us.
        """
        found: list[Socket] = []
        self._hearing.settimeout(wait_s)
        try:
            while True:
                found += [each for each in parse(self._hearing.recv(_BUFFER_BYTES)) if each is not None]
                self._hearing.settimeout(0)
        except (TimeoutError, BlockingIOError):
            return found
