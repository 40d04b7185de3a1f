"""Delays what passes between interfaces: ``python -m lab.relay``, its links as JSON in its only argument, ends with its input.

Kernels without netem have nothing for this. A delayed link is a pair of TAP devices, and this program is the cable.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass

from lab.limits import RELAY_QUEUE_BYTES_MAX
from lab.namespaces import inside

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_CHECKSUM_AND_TSO = 0x01 | 0x02 | 0x04
"""The kernel hands over the batches it makes of a stream's packets as they are: a tenth of the work."""
_FRAME_BYTES_MAX = 70_000


@dataclass(frozen=True)
class Link:
    """A device in each of two namespaces."""

    namespace: str
    device: str
    other_namespace: str
    other_device: str
    delay_s: float

    def __str__(self) -> str:
        return f"{self.namespace}/{self.device}"


class Direction:
    """What goes from one device to the other."""

    def __init__(self, source: int, sink: int, delay_s: float) -> None:
        self.source = source
        self._sink = sink
        self._delay_s = delay_s
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._bytes = 0

    def take(self) -> None:
        """All that the source has just now."""
        while True:
            try:
                frame = os.read(self.source, _FRAME_BYTES_MAX)
            except BlockingIOError:
                return
            if self._bytes + len(frame) <= RELAY_QUEUE_BYTES_MAX:
                self._under_way.append((time.monotonic() + self._delay_s, frame))
                self._bytes += len(frame)

    def deliver(self, now: float) -> float:
        """What is due; returns in how many seconds the next will be, or a long time."""
        while self._under_way:
            due, frame = self._under_way[0]
            if due > now:
                return due - now
            self._under_way.popleft()
            self._bytes -= len(frame)
            with suppress(OSError):  # the other side is down, or full: lost
                os.write(self._sink, frame)
        return 3600.0


def open_tap(namespace: str, device: str) -> int:
    """Make a TAP device in a namespace."""
    with inside(namespace):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
        fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _CHECKSUM_AND_TSO)
    return descriptor


def relay(links: list[Link]) -> None:
    """Until this program's input ends."""
    directions: dict[int, Direction] = {}
    for link in links:
        one, other = open_tap(link.namespace, link.device), open_tap(link.other_namespace, link.other_device)
        directions[one] = Direction(one, other, link.delay_s)
        directions[other] = Direction(other, one, link.delay_s)
    poll = select.epoll()
    for descriptor in (sys.stdin.fileno(), *directions):
        poll.register(descriptor, select.EPOLLIN)
    print("ready", flush=True)
    pause_s = 3600.0
    while True:
        for descriptor, _ in poll.poll(pause_s):
            if descriptor not in directions:
                return
            directions[descriptor].take()
        now = time.monotonic()
        pause_s = min(direction.deliver(now) for direction in directions.values())


def arguments(links: list[Link]) -> list[str]:
    """Of Python, for a relay of these."""
    return ["-m", "lab.relay", json.dumps([asdict(link) for link in links])]


if __name__ == "__main__":
    relay([Link(**link) for link in json.loads(sys.argv[1])])
