"""Stores that cannot be used, what the probe finds, and what a data port does when its store fails in the middle of a blob."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fleetcast.model.errors import Forbidden, Invalid, NotFound, Refused, Unavailable
from fleetcast.model.messages.grants import Grant
from fleetcast.stores import s3_lanes, served_s3
from fleetcast.stores.data_grants import grant_read
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.s3_address import S3Address
from fleetcast.stores.s3_bucket import probe, s3_bucket
from fleetcast.stores.s3_credentials import S3Credentials, S3Place
from fleetcast.stores.s3_objects import S3Objects
from fleetcast.stores.transfer import GrantConnection

KEY = b"k" * 32
FAR = 4_000_000_000_000
MIB = 1 << 20


class Answers(BaseHTTPRequestHandler):
    """A store that answers every request with ``status`` and ``code``; of an object it sends so many bytes."""

    protocol_version = "HTTP/1.1"
    status, code, seen = 500, "InternalError", 500
    size, sent = MIB, MIB // 2

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b"" if self.status < 300 else f"<Error><Code>{self.code}</Code><Message>no</Message></Error>".encode()
        self.send_response(self.seen if self.command == "HEAD" else self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _object(self) -> None:
        self.send_response(200 if self.command == "HEAD" else 206)
        self.send_header("Content-Length", str(self.size))
        self.send_header("Content-Range", f"bytes 0-{self.size - 1}/{self.size}")
        self.end_headers()
        if self.command == "GET":
            with suppress(OSError):  # the reader has left
                self.wfile.write(bytes(self.sent))
            self.close_connection = True

    def handle_method(self) -> None:
        (self._object if self.status < 300 and self.command in ("GET", "HEAD") else self._answer)()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_method  # noqa: N815 -- the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def store(status: int, code: str, seen: int = 0, **more: int) -> Iterator[S3Place]:
    """``seen``: what it answers to a HEAD, where that is something else. ``more``: the object's ``size``, and how much is
    ``sent`` of it."""
    handler = type("Handler", (Answers,), {"status": status, "code": code, "seen": seen or status, **more})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield place(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def place(port: int) -> S3Place:
    address = S3Address("artifacts", "main", f"http://127.0.0.1:{port}", addressing="path")
    return S3Place(address, S3Credentials("somebody", "s3cret"))


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "AccessDenied", "check the credentials"),
        (403, "SignatureDoesNotMatch", "this host's clock"),
        (404, "NoSuchBucket", "make the bucket"),
        (400, "IllegalLocationConstraintException", "region=NAME"),
        (501, "NotImplemented", "lacks what is needed"),
        (400, "InvalidRequest", "look after the store"),
    ],
)
def test_a_store_that_refuses_is_told_with_what_to_do(status: int, code: str, advice: str) -> None:
    with store(status, code) as refusing, pytest.raises(Unavailable, match=re.escape(advice)) as said:
        probe(refusing)
    assert code in said.value.message
    assert "s3cret" not in said.value.message
    assert "\n" not in said.value.message


def test_a_store_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening
        with pytest.raises(Unavailable, match="s3://artifacts/main"):
            probe(place(taken.getsockname()[1]))


def test_what_no_client_can_be_made_for_is_told_in_a_line() -> None:
    address = S3Address("artifacts", endpoint="http://my_minio:9000")
    with pytest.raises(Invalid, match="correct store_url") as said:
        probe(S3Place(address, S3Credentials("somebody", "s3cret")))
    assert said.value.code == "bad_store_url"


def test_what_is_neither_written_nor_there_is_not_taken_for_written() -> None:
    with store(412, "PreconditionFailed", seen=404) as forgetful:
        objects = S3Objects(forgetful.address, forgetful.credentials)
        with pytest.raises(Unavailable, match="try again"):
            objects.put("a", b"first")
        objects.close()


def test_a_store_that_overwrites_is_found_out() -> None:
    with store(200, "") as overwriting, pytest.raises(Refused, match="If-None-Match"):
        probe(overwriting)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, "NoSuchUpload", NotFound),
        (403, "AccessDenied", Forbidden),
        (400, "ExpiredToken", Forbidden),
        (400, "RequestTimeout", Unavailable),
        (503, "SlowDown", Unavailable),
    ],
)
def test_what_a_store_answers_to_a_grant(status: int, code: str, error: type[Exception]) -> None:
    with store(status, code) as refusing, GrantConnection() as connection:
        grant = Grant("PUT", f"{refusing.address.endpoint}/artifacts/a?partNumber=1", FAR)
        with pytest.raises(error, match=code):
            connection.write(grant, memoryview(b"part"))


def test_a_blob_that_breaks_off_is_cut_and_never_taken_for_whole() -> None:
    with store(200, "") as half, s3_bucket(half) as bucket:
        port = DataPort(bucket.served, KEY, "127.0.0.1", 0)
        port.start()
        try:
            client = http.client.HTTPConnection("127.0.0.1", port.port, timeout=30)
            client.request("GET", grant_read("", KEY, "a", FAR).url)
            response = client.getresponse()
            assert (response.status, response.length) == (200, MIB)
            with pytest.raises(http.client.IncompleteRead) as broken:
                response.read()
            assert 0 < len(broken.value.partial) <= MIB // 2
            client.close()
        finally:
            port.close()


def test_a_reader_that_takes_nothing_is_cut_off_for_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one transfer at a time, and a dead reader has it."""
    monkeypatch.setattr(s3_lanes, "S3_LANES_MAX", 1)
    monkeypatch.setattr(served_s3, "S3_LANE_SEND_S_MAX", 0.5)
    size = 16 * MIB  # more than all buffers between two sockets
    with store(200, "", size=size, sent=size) as whole, s3_bucket(whole) as bucket:
        port = DataPort(bucket.served, KEY, "127.0.0.1", 0)
        port.start()
        try:
            path = grant_read("", KEY, "a", FAR).url
            with closing(socket.create_connection(("127.0.0.1", port.port))) as dead:
                dead.sendall(f"GET {path} HTTP/1.1\r\nHost: us\r\n\r\n".encode())
                assert dead.recv(1) == b"H"  # the transfer has begun
                client = http.client.HTTPConnection("127.0.0.1", port.port, timeout=30)
                client.request("GET", path)
                response = client.getresponse()
                assert response.status == 200
                assert len(response.read()) == size
                client.close()
        finally:
            port.close()
