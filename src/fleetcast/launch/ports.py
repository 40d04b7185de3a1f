"""Free TCP ports that stay ours: outside the range from which the kernel takes the ports of outgoing connections."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

from fleetcast.model.errors import Unavailable

_RANGE_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FALLBACK_RANGE: Final = (32768, 60999)
_LOWEST: Final = 10_000
_TRIES: Final = 5_000


def free_ports(count: int, host: str, rng: random.Random) -> list[int]:
    """``count`` different ports that nobody listens on now. Somebody else may take one before it is used.

    Raises:
        Unavailable: there are not that many.
    """
    first, last = _ephemeral_range()
    candidates = [port for port in range(_LOWEST, 65_536) if not first <= port <= last]
    found: list[int] = []
    for port in rng.sample(candidates, min(len(candidates), _TRIES)):
        if len(found) == count:
            break
        if _is_free(host, port):
            found.append(port)
    if len(found) < count:
        raise Unavailable(
            "no_free_ports", f"found only {len(found)} of {count} free ports on {host}: close something that listens"
        )
    return found


def _ephemeral_range() -> tuple[int, int]:
    try:
        first, last = _RANGE_FILE.read_text().split()
        return int(first), int(last)
    except (OSError, ValueError):
        return _FALLBACK_RANGE


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
