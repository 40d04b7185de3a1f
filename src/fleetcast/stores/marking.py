"""Bulk traffic marked as background, so that networks and other programs of a host may let everything else go first."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

LOWER_EFFORT: Final = 1 << 2
"""The DSCP of RFC 8622, 1, as the byte of the header that it is the upper six bits of."""
LOW_PRIORITY: Final = ("lp",)
"""Congestion controls that give way to others, by the kernel's names: TCP-LP."""
DEAF: Final = ("bbr",)
"""Those that go by the rate that they measured and not by what is lost."""
USUAL: Final = ("cubic", "reno")
"""Those that everybody else on a link reckons with."""
_SETTINGS: Final = Path("/proc/sys/net/ipv4")


def mark_background(sock: socket.socket) -> None:
    """Once for a socket; what a listening one accepts is marked like it. Where the kernel refuses, nothing happens."""
    six = sock.family == socket.AF_INET6
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if six else (socket.IPPROTO_IP, socket.IP_TOS)
    with suppress(OSError):
        sock.setsockopt(level, option, LOWER_EFFORT)
    control = _control()
    if control:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())


@cache
def _control() -> str:
    """The congestion control to ask for; empty: the kernel's own choice is right. One of low priority where it is loaded: to
    ask for one by name might load a module. Where the kernel's choice is one of ``DEAF``, one that gives way at least to what
    is lost: a machine is sent to by many at a time, and with queues of 50 ms they lost a twentieth of all that was sent.
    """
    try:
        available = (_SETTINGS / "tcp_available_congestion_control").read_text().split()
        default = (_SETTINGS / "tcp_congestion_control").read_text().strip()
    except OSError:
        return ""
    wanted = (*LOW_PRIORITY, *(USUAL if default in DEAF else ()))
    return next((name for name in wanted if name in available), "")
