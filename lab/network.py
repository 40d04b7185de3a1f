"""Hosts in network namespaces, joined to a hub by links that can be limited, delayed, lossy, or cut. ::

    host: eth0 ---- h0: rack's bridge r0 (or br0): d0 ---- u0: br0 in the hub's namespace

A host's rate is shaped at both ends of its link, so both directions have it; a rack's at both ends of its uplink.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self

from lab import commands, namespaces, needs, relay
from lab.errors import LabError
from lab.host import Host
from lab.limits import BURST_KIB, END_S_MAX, QUEUE_MS, RELAY_READY_S_MAX, UNLIMITED_BURST_KIB, UNLIMITED_MBIT
from lab.plan import Plan

_REPOSITORY: Final = Path(__file__).parents[1]


@dataclass(frozen=True)
class _Link:
    """Two interfaces, the far one being nearer to the hub."""

    namespace: str
    device: str
    hub: str
    hub_device: str
    delay_ms: float

    @property
    def ends(self) -> tuple[tuple[str, str], tuple[str, str]]:
        return (self.namespace, self.device), (self.hub, self.hub_device)


class Network:
    """A context: up inside of it, and gone with all that ran in it after it, however it ends. Without limits until
    :meth:`limit`, so that what is needed first can be copied. Raises :class:`LabError`.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._prefix = namespaces.prefix()
        hub = f"{self._prefix}-hub"
        self.hub = Host("hub", _address(0), hub)
        """No limits: for what controls and what measures."""
        self.hosts = {
            host.name: Host(host.name, _address(number), f"{self._prefix}-{host.name}", host.zone, host.rack)
            for number, host in enumerate(plan.hosts, 1)
        }
        self._links = {
            host.name: _Link(self.hosts[host.name].namespace, "eth0", hub, f"h{number}", host.delay_ms)
            for number, host in enumerate(plan.hosts)
        }
        self._uplinks = {
            rack.name: _Link(hub, f"d{number}", hub, f"u{number}", rack.delay_ms) for number, rack in enumerate(plan.racks)
        }
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        needs.check(self.plan)
        namespaces.sweep()
        with ExitStack() as stack:
            stack.enter_context(_terminable())
            everywhere = [self.hub.namespace, *(host.namespace for host in self.hosts.values())]
            stack.callback(namespaces.remove, everywhere)
            namespaces.make(everywhere)
            self._stretch_cables(stack)
            self._plug_in()
            self.lift()
            for host in self.plan.hosts:
                if host.loss:
                    self.lose(host.name, host.loss)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    # While it is up

    def limit(self) -> None:
        """Every link has the rate that is planned."""
        for host in self.plan.hosts:
            self.set_rate(host.name, host.rate_mbit)
        for rack in self.plan.racks:
            self._shape(self._uplinks[rack.name], self.plan.uplink_mbit(rack))

    def lift(self) -> None:
        """No link has a limit."""
        for link in (*self._links.values(), *self._uplinks.values()):
            self._shape(link, 0)

    def set_rate(self, host: str, rate_mbit: float) -> None:
        """Another rate than planned; 0: no limit."""
        self._shape(self._links[host], rate_mbit)

    def lose(self, host: str, share: float) -> None:
        """The share of packets that each direction of a host's link loses from now on; 0: none."""
        for namespace, device in self._links[host].ends:
            rule = f"numgen random mod 100000 < {round(share * 100_000)} drop" if share else ""
            chain = f'chain lossy {{ type filter hook ingress device "{device}" priority 0\n{rule}\n}}'
            commands.nft(
                namespace, f"table netdev {device}\ndelete table netdev {device}\ntable netdev {device} {{\n{chain}\n}}\n"
            )

    def cut(self, host: str) -> None:
        """Pull a host's cable."""
        link = self._links[host]
        commands.ip(link.hub, [f"link set {link.hub_device} down"])

    def mend(self, host: str) -> None:
        link = self._links[host]
        commands.ip(link.hub, [f"link set {link.hub_device} up"])

    def entered(self) -> dict[str, int]:
        """Bytes that went into each rack over its uplink so far, headers included, by the rack's name."""
        told = json.loads(commands.run("tc", "-n", self.hub.namespace, "-s", "-j", "qdisc", "show"))
        passed = {qdisc["dev"]: int(qdisc["bytes"]) for qdisc in told if qdisc["kind"] == "tbf"}
        return {name: passed[link.hub_device] for name, link in self._uplinks.items()}

    # How it is made

    def _stretch_cables(self, stack: ExitStack) -> None:
        """Make the two interfaces of every link; those with a delay are a relay's."""
        links = [*self._links.values(), *self._uplinks.values()]
        delayed = [link for link in links if link.delay_ms]
        commands.ip(
            self.hub.namespace,
            [
                f"link add {link.hub_device} type veth peer name {link.device} netns {link.namespace}"
                for link in links
                if link not in delayed
            ],
        )
        if delayed:
            cables = [
                relay.Link(link.namespace, link.device, link.hub, link.hub_device, link.delay_ms / 1000) for link in delayed
            ]
            stack.enter_context(_relaying(self.hub, cables))

    def _plug_in(self) -> None:
        """Bridges, addresses, and everything up."""
        rack_bridge = {rack.name: f"r{number}" for number, rack in enumerate(self.plan.racks)}
        lines = [f"link add {bridge} type bridge" for bridge in ("br0", *rack_bridge.values())]
        lines += [f"link set br0 address {_ethernet(0)}", f"addr add {self.hub.address}/16 dev br0"]
        for name, uplink in self._uplinks.items():
            lines += [f"link set {uplink.device} master {rack_bridge[name]}", f"link set {uplink.hub_device} master br0"]
            lines += [f"link set {device} up" for device in (uplink.device, uplink.hub_device)]
        for name, link in self._links.items():
            bridge = rack_bridge.get(self.hosts[name].rack, "br0")
            lines += [f"link set {link.hub_device} master {bridge}", f"link set {link.hub_device} up"]
        lines += [f"link set {device} up" for device in ("lo", "br0", *rack_bridge.values())]
        commands.ip(self.hub.namespace, [*lines, *self._neighbours(0, "br0")])
        for number, host in enumerate(self.hosts.values(), 1):
            lines = [f"link set eth0 address {_ethernet(number)}", f"addr add {host.address}/16 dev eth0"]
            commands.ip(host.namespace, [*lines, "link set lo up", "link set eth0 up", *self._neighbours(number, "eth0")])

    def _neighbours(self, number: int, device: str) -> Iterator[str]:
        """Known for good: the kernel's table is one for all namespaces, and has no room for 32 x 32 that come and go."""
        for other in range(len(self.hosts) + 1):
            if other != number:
                yield f"neigh add {_address(other)} lladdr {_ethernet(other)} dev {device} nud permanent"

    def _shape(self, link: _Link, rate_mbit: float) -> None:
        """``replace`` changes a shaper that is there in place: nothing is lost, its counters go on."""
        rate_kbit = round((rate_mbit or UNLIMITED_MBIT) * 1000)
        burst_kib = BURST_KIB if rate_mbit else UNLIMITED_BURST_KIB
        for namespace, device in link.ends:
            commands.tc(
                namespace,
                [f"qdisc replace dev {device} root tbf rate {rate_kbit}kbit burst {burst_kib}kb latency {QUEUE_MS}ms"],
            )


@contextmanager
def _relaying(hub: Host, links: list[relay.Link]) -> Iterator[None]:
    """A relay at work in the hub; it ends with its input, so also when we are killed."""
    argv = hub.command([sys.executable, *relay.arguments(links)])
    with subprocess.Popen(argv, cwd=_REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        silence = threading.Timer(RELAY_READY_S_MAX, process.kill)
        silence.start()
        try:
            if process.stdout.readline() != b"ready\n":
                raise LabError("the relay that delays links did not start: what it said stands above")
            silence.cancel()
            yield
        finally:
            silence.cancel()
            process.stdin.close()
            process.wait(END_S_MAX)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the program as Ctrl-C does, so with everything cleaned up. Outside the main thread it does not."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _address(number: int) -> str:
    return f"10.77.0.{number + 1}"


def _ethernet(number: int) -> str:
    return f"02:77:00:00:00:{number + 1:02x}"
