"""Using grants against servers that behave well, badly, and not at all."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleetcast.model.errors import FleetcastError, Forbidden, Invalid, NotFound, Unavailable
from fleetcast.model.messages.grants import Grant
from fleetcast.stores.transfer import GrantConnection


@contextmanager
def answering(
    *answers: bytes, wrap: Callable[[socket.socket], socket.socket] = lambda sock: sock
) -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes one connection an answer, reads a request's head, answers and hangs up; with the heads it read."""
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                accepted, _ = listener.accept()
                with wrap(accepted) as connection:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += connection.recv(1)
                    heads.append(head)
                    with suppress(OSError):  # a client that had enough hangs up
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(4096):
                            pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", heads
        thread.join(10)
        assert not thread.is_alive()


def get(host: str, scheme: str = "http") -> Grant:
    return Grant("GET", f"{scheme}://{host}/a?signature=secret", 0, {"X-Store": "yes"})


def partial(data: bytes, first: int = 0, length: int | None = None) -> bytes:
    length = len(data) if length is None else length
    head = (
        f"HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\nContent-Range: bytes {first}-{first + length - 1}/99\r\n"
    )
    return head.encode() + b"\r\n" + data


def read(grant: Grant, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    with GrantConnection(timeout_s=5) as connection:
        connection.read_into(grant, offset, memoryview(buffer))
    return bytes(buffer)


def test_a_range_is_asked_for_with_the_grants_headers() -> None:
    with answering(partial(b"hello", 7)) as (host, heads):
        assert read(get(host), 7, 5) == b"hello"
    assert b"GET /a?signature=secret HTTP/1.1\r\n" in heads[0]
    assert b"Range: bytes=7-11\r\n" in heads[0]
    assert b"X-Store: yes\r\n" in heads[0]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", NotFound),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", Forbidden),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", Forbidden),
        (b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n", Invalid),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", Invalid),
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", Unavailable),
        (b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n", Unavailable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Unavailable),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", Unavailable),
        (partial(b"hell", 0), Invalid),
        (partial(b"hello", 1), Invalid),
        (partial(b"hel", 0, length=5), Unavailable),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 10_000, Unavailable),
        (b"no http at all\r\n\r\n", Unavailable),
        (b"", Unavailable),
    ],
)
def test_what_is_not_the_range_is_an_error_that_says_what_to_do(answer: bytes, expected: type[FleetcastError]) -> None:
    with answering(answer) as (host, _), pytest.raises(expected) as raised:
        read(get(host), 0, 5)
    assert host in raised.value.message or "bytes 0 to 4" in raised.value.message
    assert "secret" not in raised.value.message, "a grant is not for logs"


def test_a_kept_connection_that_died_is_made_anew() -> None:
    with answering(partial(b"one"), partial(b"two")) as (host, _), GrantConnection(timeout_s=5) as connection:
        buffer = bytearray(3)
        for expected in (b"one", b"two"):
            connection.read_into(get(host), 0, memoryview(buffer))
            assert buffer == expected


def test_one_answer_fills_many_buffers() -> None:
    parts = [bytearray(3), bytearray(3), bytearray(5)]
    with (
        answering(partial(b"onetwothree", 7)) as (host, heads),
        GrantConnection(timeout_s=5) as connection,
        connection.reading(get(host), 7, 11) as fill,
    ):
        for part in parts:
            fill(memoryview(part))
    assert parts == [b"one", b"two", b"three"]
    assert b"Range: bytes=7-17\r\n" in heads[0]
    assert len(heads) == 1


def test_who_leaves_an_answer_early_gets_another_on_a_new_connection() -> None:
    with answering(partial(b"onetwo"), partial(b"two")) as (host, _), GrantConnection(timeout_s=5) as connection:
        buffer = bytearray(3)
        with connection.reading(get(host), 0, 6) as fill:
            fill(memoryview(buffer))
        connection.read_into(get(host), 0, memoryview(buffer))
        assert buffer == b"two", "not what was left of the first"


def test_an_answer_that_breaks_off_leaves_what_it_filled_before() -> None:
    with answering(partial(b"onetw", 0, length=6)) as (host, _), GrantConnection(timeout_s=5) as connection:
        first, second = bytearray(3), memoryview(bytearray(3))
        with connection.reading(get(host), 0, 6) as fill:
            fill(memoryview(first))
            with pytest.raises(Unavailable):
                fill(second)
    assert first == b"one"


def test_it_goes_on_after_an_error() -> None:
    bad = b"HTTP/1.1 500 Oops\r\nContent-Length: 99999999\r\n\r\nx"
    with answering(bad, partial(b"two")) as (host, _), GrantConnection(timeout_s=5) as connection:
        buffer = bytearray(3)
        with pytest.raises(Unavailable):
            connection.read_into(get(host), 0, memoryview(buffer))
        connection.read_into(get(host), 0, memoryview(buffer))
        assert buffer == b"two"


def test_a_server_that_is_not_there_or_silent_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        read(get("127.0.0.1:1"), 0, 1)
    with socket.create_server(("127.0.0.1", 0)) as silent, GrantConnection(timeout_s=0.1) as connection:
        grant = get(f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Unavailable):
            connection.read_into(grant, 0, memoryview(bytearray(1)))
        with pytest.raises(Unavailable):
            connection.write(grant, memoryview(b"x"))


def test_an_etag_comes_without_quotes_and_must_come() -> None:
    answers = (
        b'HTTP/1.1 200 OK\r\nETag: "abc"\r\nContent-Length: 0\r\n\r\n',
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    )
    with answering(*answers) as (host, heads), GrantConnection(timeout_s=5) as connection:
        grant = Grant("PUT", f"http://{host}/part", 0)
        assert connection.write(grant, memoryview(b"data")) == "abc"
        with pytest.raises(Unavailable):
            connection.write(grant, memoryview(b""))
    assert b"Content-Length: 4\r\n" in heads[0]
    assert b"Content-Length: 0\r\n" in heads[1]


def test_only_web_addresses_are_grants() -> None:
    with pytest.raises(Invalid):
        read(Grant("GET", "file:///etc/passwd", 0), 0, 1)


@pytest.mark.parametrize(
    "url",
    [
        "http://[",
        "http://host:notaport/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
        "http:///a",
        "http://é/",
        "http://a..b/",
    ],
)
def test_an_address_that_is_none_is_an_error_of_ours_that_does_not_show_the_grant(url: str) -> None:
    with GrantConnection(timeout_s=5) as connection:
        with pytest.raises(Invalid) as caught:
            connection.size(Grant("GET", f"{url}?signature=secret", 0))
        assert "secret" not in str(caught.value)
        with pytest.raises(Invalid):
            connection.write(Grant("PUT", "http://127.0.0.1:1/", 0, {"X-Store": "two\r\nlines"}), memoryview(b"data"))


def test_a_length_that_is_no_number_is_an_error_of_ours() -> None:
    answer = "HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n".encode("latin-1")
    with answering(answer) as (host, _), GrantConnection(timeout_s=5) as connection, pytest.raises(Unavailable):
        connection.size(get(host))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate of 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


def test_https_is_verified(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def wrap(connection: socket.socket) -> socket.socket:
        return context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True)

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with answering(partial(b"hello"), wrap=wrap) as (host, _):
        assert read(get(host, "https"), 0, 5) == b"hello"


def test_https_with_a_certificate_nobody_knows_is_refused(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted, suppress(OSError):
                context.wrap_socket(accepted, server_side=True)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(Unavailable, match="certificate"):
            read(get(f"127.0.0.1:{listener.getsockname()[1]}", "https"), 0, 5)
        thread.join(10)
