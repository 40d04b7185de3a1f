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
_AVAILABLE: Final = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


def mark_background(sock: socket.socket) -> None:
    """Once for a socket; what a listening one accepts is marked like it. Where the kernel refuses, nothing happens."""
    six = sock.family == socket.AF_INET6
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if six else (socket.IPPROTO_IP, socket.IP_TOS)
    with suppress(OSError):
        sock.setsockopt(level, option, LOWER_EFFORT)
    control = _low_priority()
    if control:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())


@cache
def _low_priority() -> str:
    """A congestion control of the kind that is loaded; empty: there is none. To ask for one by name might load a module."""
    try:
        available = _AVAILABLE.read_text().split()
    except OSError:
        return ""
    return next((name for name in LOW_PRIORITY if name in available), "")
