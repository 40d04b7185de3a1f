"""A lab is what was planned: rates, racks, loss, delay, cables. Ratios, not seconds: a busy machine is slower, never faster."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from lab.goodput import measure
from lab.host import Host
from lab.namespaces import inside
from lab.network import Network
from lab.plan import HostPlan, Plan, RackPlan

RATE_MBIT = 40.0
DELAY_MS = 30.0
LOSS = 0.1
FEWER, MORE = 0.8, 1.1
"""Of a rate, for payload. Headers take 4.4%; a machine that is busy delivers late, what it kept waiting included."""
PLAN = Plan(
    [
        HostPlan("one", RATE_MBIT, zone="z1"),
        HostPlan("other", RATE_MBIT),
        HostPlan("far", RATE_MBIT, delay_ms=DELAY_MS),
        HostPlan("lossy", RATE_MBIT, loss=LOSS),
        HostPlan("racked-1", RATE_MBIT, rack="narrow"),
        HostPlan("racked-2", RATE_MBIT, rack="narrow"),
        HostPlan("away", RATE_MBIT, rack="distant"),
    ],
    [RackPlan("narrow", oversubscription=4), RackPlan("distant", delay_ms=DELAY_MS)],
)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network(PLAN) as network:
        network.limit()
        yield network


@contextmanager
def echoing(network: Network, name: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A datagram socket at the hub, connected with one at a host."""
    with inside(network.hub.namespace):
        near = socket.socket(type=socket.SOCK_DGRAM)
    with inside(network.hosts[name].namespace):
        far = socket.socket(type=socket.SOCK_DGRAM)
    with closing(near), closing(far):
        for sock, host in ((near, network.hub), (far, network.hosts[name])):
            sock.bind((host.address, 0))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        near.connect(far.getsockname())
        far.connect(near.getsockname())
        yield near, far


def round_trip_ms(near: socket.socket, far: socket.socket) -> float:
    began = time.monotonic()
    near.send(b"there")
    far.recv(16)
    far.send(b"back")
    near.recv(16)
    return (time.monotonic() - began) * 1000


def gets_through(near: socket.socket, far: socket.socket) -> bool:
    near.send(b"news")
    far.settimeout(0.2)
    try:
        return far.recv(16) == b"news"
    except TimeoutError:
        return False


def test_a_link_has_the_rate_that_was_planned_in_both_directions(network: Network) -> None:
    for sender, receiver in ("one", "hub"), ("hub", "one"):
        ends = [network.hub if name == "hub" else network.hosts[name] for name in (sender, receiver)]
        assert FEWER * RATE_MBIT < measure(ends[0], ends[1], 1.5) <= MORE * RATE_MBIT, (sender, receiver)


def test_a_rate_changes_and_is_lifted_while_the_lab_is_up(network: Network) -> None:
    one, other = network.hosts["one"], network.hosts["other"]
    network.set_rate("one", RATE_MBIT / 2)
    assert FEWER * RATE_MBIT / 2 < measure(one, other, 1) <= MORE * RATE_MBIT / 2
    network.lift()
    assert measure(one, other, 0.5) > 4 * RATE_MBIT
    network.limit()
    assert FEWER * RATE_MBIT < measure(one, other, 1) <= MORE * RATE_MBIT


def test_a_rack_shares_its_uplink_and_only_that(network: Network) -> None:
    outside, racked = network.hosts["one"], [network.hosts["racked-1"], network.hosts["racked-2"]]
    uplink_mbit = 2 * RATE_MBIT / 4
    for sender, receiver in (outside, racked[0]), (racked[1], outside):
        assert FEWER * uplink_mbit < measure(sender, receiver, 1.5) <= MORE * uplink_mbit
    assert FEWER * RATE_MBIT < measure(*racked, 1) <= MORE * RATE_MBIT, "inside the rack nobody passes the uplink"


def test_what_enters_a_rack_is_counted(network: Network) -> None:
    def entered(sender: str, receiver: str) -> float:
        before = network.entered()["narrow"]
        measure(network.hosts[sender], network.hosts[receiver], 1)
        return network.entered()["narrow"] - before

    sent = 2 * RATE_MBIT / 4 / 8 * 1e6
    assert entered("one", "racked-1") > FEWER * sent
    assert entered("racked-1", "racked-2") < 0.02 * sent
    assert entered("racked-1", "one") < 0.1 * sent, "acknowledgements"


def test_a_lossy_link_loses_its_share_each_way(network: Network) -> None:
    sent, lump = 5000, 50
    with echoing(network, "lossy") as (near, far):
        for source, sink in (near, far), (far, near):
            got = 0
            for _ in range(sent // lump):
                for _ in range(lump):
                    source.send(b"x" * 64)
                got += drained(sink)
            got += drained(sink, 0.3)
            # Five standard deviations of a fair die: once in a million runs.
            assert abs(got / sent - (1 - LOSS)) < 5 * (LOSS * (1 - LOSS) / sent) ** 0.5
    network.lose("lossy", 0)
    with echoing(network, "lossy") as (near, far):
        assert all(gets_through(near, far) for _ in range(100))


def drained(sink: socket.socket, patience_s: float = 0.002) -> int:
    """How many datagrams have come."""
    count = 0
    sink.settimeout(patience_s)
    try:
        while sink.recv(128):
            count += 1
    except TimeoutError:
        pass
    return count


@pytest.mark.parametrize("name", ["far", "away"])
def test_a_delay_is_in_every_round_trip(network: Network, name: str) -> None:
    """Of a host, and of a rack's uplink. The quickest of ten: each other one waited for a processor."""
    with echoing(network, "one") as ends:
        assert min(round_trip_ms(*ends) for _ in range(10)) < DELAY_MS / 2, "nobody else is delayed"
    with echoing(network, name) as ends:
        assert 2 * DELAY_MS <= min(round_trip_ms(*ends) for _ in range(10)) < 3 * DELAY_MS


def test_a_delayed_link_still_has_its_rate(network: Network) -> None:
    assert FEWER * RATE_MBIT < measure(network.hosts["one"], network.hosts["far"], 1.5) <= MORE * RATE_MBIT


def test_a_cut_cable_carries_nothing_until_it_is_mended(network: Network) -> None:
    with echoing(network, "racked-1") as ends, echoing(network, "racked-2") as others:
        assert gets_through(*ends)
        network.cut("racked-1")
        assert not any(gets_through(*ends) for _ in range(3))
        assert gets_through(*others), "the neighbour is not cut off"
        network.mend("racked-1")
        assert any(gets_through(*ends) for _ in range(50))


def test_a_host_is_where_its_programs_are(network: Network) -> None:
    one = network.hosts["one"]
    assert one.zone == "z1"
    assert network.hosts["racked-1"].rack == "narrow"
    assert one.command(["true"]) == ["ip", "netns", "exec", one.namespace, "true"]
    assert Host("here", "127.0.0.1").command(["true"]) == ["true"]
