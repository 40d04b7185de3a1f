"""What enters processes, as the kernel counts it."""

from __future__ import annotations

import os
import socket
import struct
import threading

import pytest

from lab.sock_diag import LISTEN, Socket, parse
from lab.traffic import Entered, Ledger, Traffic

ESTABLISHED = 1
END = 1
"""Of a stream: the kernel counts it as a byte."""


def receive(sock: socket.socket, count: int) -> None:
    while count:
        count -= len(sock.recv(min(count, 1 << 16)))


def test_every_byte_of_every_connection_counts_and_none_from_before() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        address = listener.getsockname()
        old = socket.create_connection(address)
        kept, _ = listener.accept()
        kept.sendall(b"b" * 5000)
        receive(old, 5000)
        with Traffic({"me": os.getpid()}) as traffic:
            sending = threading.Thread(target=kept.sendall, args=[b"x" * 3_000_000])
            sending.start()
            receive(old, 3_000_000)
            sending.join()
            old.sendall(b"y" * 70)
            receive(kept, 70)
            for server in (listener, six):
                for _ in range(20):  # gone long before anybody looks
                    with socket.create_connection(server.getsockname()[:2]) as one, server.accept()[0] as other:
                        one.sendall(b"z" * 1000)
                        receive(other, 1000)
        old.close()
        kept.close()
        port, six_port = address[1], six.getsockname()[1]
    entered = traffic.entered()
    assert traffic.listening[port] == traffic.listening[six_port] == "me"
    assert {each.process for each in entered if port in (each.local_port, each.remote_port)} <= {"me", ""}
    assert sum(each.bytes for each in entered if each.remote_port == port) in range(3_000_000, 3_000_000 + 20 * END + 1)
    assert sum(each.bytes for each in entered if each.local_port == port) in range(20_070, 20_070 + 20 * END + 1)
    assert sum(each.bytes for each in entered if each.local_port == six_port) in range(20_000, 20_000 + 20 * END + 1)


def test_what_nobody_read_has_entered_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Traffic({"me": os.getpid()}) as traffic:
        with socket.create_connection(listener.getsockname()) as one, listener.accept()[0]:
            one.sendall(b"u" * 1000)
        port = listener.getsockname()[1]
    assert sum(each.bytes for each in traffic.entered() if each.local_port == port) in (1000, 1000 + END)


LISTENER = Socket(1, LISTEN, 80, 0, 11, 0)


def ledger(*before: Socket) -> Ledger:
    made = Ledger([LISTENER, *before])
    made.own({11: "server", 12: "client"})
    return made


def test_the_last_word_on_a_connection_is_what_it_had_when_it_was_destroyed() -> None:
    made = ledger(Socket(2, ESTABLISHED, 5000, 80, 12, 100))
    stale = Socket(2, ESTABLISHED, 5000, 80, 12, 150)
    made.bury([Socket(2, 7, 5000, 80, 0, 400)])
    assert not made.see([LISTENER, stale])
    assert made.entered() == [Entered("client", 5000, 80, 300)]
    assert made.missing([LISTENER]) == 0


def test_who_accepted_is_known_by_the_port_and_who_connected_by_the_descriptor() -> None:
    made = ledger()
    accepted, connected = Socket(2, ESTABLISHED, 80, 5000, 0, 7), Socket(3, ESTABLISHED, 5000, 80, 13, 8)
    assert made.see([LISTENER, accepted, connected])
    made.own({11: "server", 13: "client"})
    assert not made.see([LISTENER, accepted, connected])
    assert made.entered() == [Entered("server", 80, 5000, 7), Entered("client", 5000, 80, 8)]


def test_an_owner_that_nobody_saw_is_told_as_unknown_and_strangers_are_not_told_at_all() -> None:
    made = ledger()
    made.bury([Socket(2, 7, 5000, 80, 0, 9), Socket(3, 7, 5001, 8080, 0, 9)])
    made.see([Socket(4, ESTABLISHED, 5002, 8080, 99, 9)])
    made.own({})
    assert made.entered() == [Entered("", 5000, 80, 9)]


def test_a_connection_that_is_neither_there_nor_destroyed_is_missed() -> None:
    made = ledger(Socket(2, ESTABLISHED, 5000, 80, 12, 100))
    assert made.missing([LISTENER]) == 1


def test_an_answer_that_is_an_error_is_one() -> None:
    refused = struct.pack("=IHHIIi16x", 36, 2, 0, 0, 0, -1)
    with pytest.raises(PermissionError):
        list(parse(refused))
    assert list(parse(struct.pack("=IHHIIi", 20, 3, 0, 0, 0, 0))) == [None]
