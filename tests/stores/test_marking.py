"""What the kernel says of a socket that was marked, and of the connections it accepted."""

from __future__ import annotations

import socket

import pytest

from fleetcast.stores import marking
from fleetcast.stores.marking import LOWER_EFFORT, mark_background


def _class(sock: socket.socket) -> int:
    if sock.family == socket.AF_INET6:
        return sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
    return sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS)


def _congestion_control(sock: socket.socket) -> str:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_socket_is_marked_in_the_way_of_its_family(family: socket.AddressFamily) -> None:
    with socket.socket(family) as sock:
        mark_background(sock)
        assert _class(sock) == LOWER_EFFORT


def test_what_a_marked_socket_accepts_is_marked_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mark_background(listener)
        with socket.create_connection(listener.getsockname()) as dialled, listener.accept()[0] as accepted:
            assert (_class(dialled), _class(accepted)) == (0, LOWER_EFFORT)


def test_a_congestion_control_that_gives_way_is_used_where_the_kernel_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as plain:
        usual = _congestion_control(plain)
    # reno is in every kernel: it stands in for one that is not in this one.
    for kinds, expected in ((("no-such",), usual), (("no-such", "reno"), "reno")):
        monkeypatch.setattr(marking, "DEAF", ())
        monkeypatch.setattr(marking, "LOW_PRIORITY", kinds)
        marking._control.cache_clear()
        with socket.socket() as marked:
            mark_background(marked)
            assert _congestion_control(marked) == expected
    marking._control.cache_clear()


def test_a_congestion_control_that_does_not_heed_losses_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as plain:
        usual = _congestion_control(plain)
    monkeypatch.setattr(marking, "LOW_PRIORITY", ())
    for deaf, expected in (((), usual), ((usual,), "reno")):
        monkeypatch.setattr(marking, "DEAF", deaf)
        monkeypatch.setattr(marking, "USUAL", ("no-such", "reno"))
        marking._control.cache_clear()
        with socket.socket() as marked:
            mark_background(marked)
            assert _congestion_control(marked) == expected
    marking._control.cache_clear()
