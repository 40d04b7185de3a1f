"""The data port, spoken to by the standard library's client and by hand."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3

from fleetcast.model.errors import Forbidden, Refused, Unavailable
from fleetcast.model.limits import DATA_PORT_CONNECTIONS_MAX, DATA_PORT_PARTS_MAX, ORIGIN_SLICE_BYTES, RATE_SLACK_S
from fleetcast.model.messages.grants import Grant
from fleetcast.stores import data_port, data_port_exchange
from fleetcast.stores.blob_files import BlobFiles
from fleetcast.stores.data_grants import GrantedPart, grant_part, grant_read
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.data_port_exchange import Exchange
from fleetcast.stores.limiter import Limiter
from fleetcast.stores.marking import LOWER_EFFORT
from fleetcast.stores.transfer import GrantConnection
from fleetcast.stores.upload_files import UploadFiles

KEY = b"k" * 32
FAR = 4_000_000_000_000
BLOB = os.urandom(3_000_000)


class Bucket:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = BlobFiles(root)
        self.files.prepare()
        self.uploads = UploadFiles(self.files)
        self.port = DataPort(root, KEY, "127.0.0.1", 0)
        self.port.start()

    def read_target(self, key: str, expires_at_ms: int = FAR) -> str:
        return grant_read("", KEY, key, expires_at_ms).url

    def part_target(self, upload: str, number: int, size: int, expires_at_ms: int = FAR) -> str:
        return grant_part("", KEY, GrantedPart(upload, number, size), expires_at_ms).url


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    bucket = Bucket(tmp_path / "bucket")
    bucket.files.put("a/blob", BLOB)
    yield bucket
    bucket.port.close()


@pytest.fixture
def client(bucket: Bucket) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", bucket.port.port, timeout=10)
    yield connection
    connection.close()


def ask(
    client: http.client.HTTPConnection, method: str, target: str, body: bytes | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    client.request(method, target, body=body, headers=headers)
    response = client.getresponse()
    return response, response.read()


def test_a_whole_blob_and_its_size(bucket: Bucket, client: http.client.HTTPConnection) -> None:
    response, body = ask(client, "GET", bucket.read_target("a/blob"))
    assert (response.status, body == BLOB) == (200, True)
    response, body = ask(client, "HEAD", bucket.read_target("a/blob"))
    assert (response.status, response.getheader("Content-Length"), body) == (200, str(len(BLOB)), b"")


def test_ranges(bucket: Bucket, client: http.client.HTTPConnection) -> None:
    target = bucket.read_target("a/blob")
    for asked, span in (
        ("0-0", (0, 0)),
        ("1000-2999999", (1000, 2999999)),
        ("2999990-", (2999990, 2999999)),
        ("-5", (2999995, 2999999)),
    ):
        response, body = ask(client, "GET", target, Range=f"bytes={asked}")
        assert response.status == 206
        assert response.getheader("Content-Range") == f"bytes {span[0]}-{span[1]}/{len(BLOB)}"
        assert body == BLOB[span[0] : span[1] + 1]
    response, body = ask(client, "HEAD", target, Range="bytes=5-9")
    assert (response.status, response.getheader("Content-Length"), body) == (206, "5", b"")
    for asked in ("bytes=3000000-", "bytes=0-1,5-6", "pages=1-2"):
        response, _ = ask(client, "GET", target, Range=asked)
        assert response.status == 416
        assert response.getheader("Content-Range") == f"bytes */{len(BLOB)}"


def test_one_connection_serves_many_requests_refusals_included(bucket: Bucket, client: http.client.HTTPConnection) -> None:
    ask(client, "GET", bucket.read_target("a/blob"), Range="bytes=0-9")
    used = client.sock
    ask(client, "GET", bucket.read_target("a/none"))
    ask(client, "GET", "/blobs/a/blob")
    ask(client, "PUT", "/uploads/x/1", body=b"x" * 500_000)
    response, body = ask(client, "GET", bucket.read_target("a/blob"), Range="bytes=5-9")
    assert (response.status, body) == (206, BLOB[5:10])
    assert client.sock is used


def test_what_is_not_granted_is_forbidden(bucket: Bucket, client: http.client.HTTPConnection) -> None:
    upload = bucket.uploads.begin("b", 1000)
    read, write = bucket.read_target("a/blob"), bucket.part_target(upload, 1, 4)
    for method, target in (
        ("GET", "/"),
        ("GET", "/blobs/a/blob"),
        ("GET", read[:-1] + ("0" if read[-1] != "0" else "1")),
        ("GET", read.replace("a/blob", "a/blub")),
        ("GET", bucket.read_target("a/blob", expires_at_ms=1)),
        ("GET", write),
        ("PUT", read),
        ("PUT", write.replace("/1?", "/2?")),
        ("PUT", write.replace("size=4", "size=5")),
        ("PUT", bucket.part_target(upload, 1, 4, expires_at_ms=1)),
    ):
        response, body = ask(client, method, target, body=b"data" if method == "PUT" else None)
        assert response.status == 403, target
        assert b"ask for a new" in body
    assert bucket.uploads.record(upload).parts == ()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_a_grant_that_has_expired_is_refused_with_its_reason(
    bucket: Bucket, client: http.client.HTTPConnection, method: str
) -> None:
    """In one line, which says what to do; and whoever uses it passes that on."""
    upload, past = bucket.uploads.begin("b", 1000), int(time.time() * 1000) - 1
    write = method == "PUT"
    target = bucket.part_target(upload, 1, 4, past) if write else bucket.read_target("a/blob", past)
    response, body = ask(client, method, target, body=b"data" if write else None)
    assert response.status == 403
    if method != "HEAD":  # which has no body
        (line,) = body.decode().splitlines()
        assert line.startswith("expired_grant: the grant has expired: ask for a new one")
    grant = Grant("PUT" if write else "GET", f"http://127.0.0.1:{bucket.port.port}{target}", past)
    with GrantConnection() as connection:
        use: dict[str, Callable[[], object]] = {
            "GET": lambda: connection.read_into(grant, 0, memoryview(bytearray(4))),
            "HEAD": lambda: connection.size(grant),
            "PUT": lambda: connection.write(grant, memoryview(b"data")),
        }
        with pytest.raises(Forbidden, match=r"403.*ask for a new") as caught:
            use[method]()
    assert "signature" not in caught.value.message
    assert "\n" not in caught.value.message


def test_no_key_leads_out_of_the_bucket_even_signed(bucket: Bucket, client: http.client.HTTPConnection, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "bucket/blobs/link").symlink_to(tmp_path / "secret")
    for key in (
        "../secret",
        "../../secret",
        "a/../../../secret",
        "/etc/passwd",
        "./a/blob",
        "%2e%2e/secret",
        "..%2fsecret",
        "link",
    ):
        response, body = ask(client, "GET", bucket.read_target(key))
        assert response.status in (400, 403, 404), key
        assert b"secret" not in body.replace(key.encode(), b"")


def test_a_part_is_written_and_answered_with_its_hash(bucket: Bucket, client: http.client.HTTPConnection) -> None:
    upload = bucket.uploads.begin("b", 1000)
    response, _ = ask(client, "PUT", bucket.part_target(upload, 2, 4), body=b"data")
    assert (response.status, response.getheader("ETag")) == (200, f'"{blake3(b"data").hexdigest()}"')
    assert (bucket.root / "uploads" / upload).read_bytes() == bytes(1000) + b"data"
    response, _ = ask(client, "PUT", bucket.part_target(upload, 3, 0), body=b"")
    assert response.status == 200


def test_a_part_larger_than_granted_is_refused(bucket: Bucket, client: http.client.HTTPConnection) -> None:
    upload = bucket.uploads.begin("b", 1000)
    response, _ = ask(client, "PUT", bucket.part_target(upload, 1, 4), body=b"data!")
    assert response.status == 400
    assert bucket.uploads.record(upload).parts == ()


def test_a_chunked_body_is_refused(bucket: Bucket, client: http.client.HTTPConnection) -> None:
    upload = bucket.uploads.begin("b", 1000)
    # Headers alone: a body would race with the port, which hangs up after its refusal.
    client.putrequest("PUT", bucket.part_target(upload, 1, 4))
    client.putheader("Transfer-Encoding", "chunked")
    client.endheaders()
    assert client.getresponse().status == 400
    assert bucket.uploads.record(upload).parts == ()


def test_a_part_whose_sender_disappears_is_not_written(bucket: Bucket) -> None:
    upload = bucket.uploads.begin("b", 1000)
    with socket.create_connection(("127.0.0.1", bucket.port.port)) as sock:
        sock.sendall(f"PUT {bucket.part_target(upload, 1, 4)} HTTP/1.1\r\nContent-Length: 4\r\n\r\nda".encode())
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1000) == b"", "hung up on, without an answer"
    assert bucket.uploads.record(upload).parts == ()
    assert (bucket.root / "uploads" / upload).read_bytes() == b""


@pytest.mark.parametrize(
    "request_text",
    [
        "nonsense\r\n\r\n",
        "DELETE /blobs/a HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "GET /" + "a" * 70_000,
    ],
)
def test_what_is_no_request_is_refused_in_one_line(bucket: Bucket, request_text: str) -> None:
    with socket.create_connection(("127.0.0.1", bucket.port.port)) as sock:
        sock.sendall(request_text.encode())
        answer = sock.makefile("rb").read().decode()
    assert answer.startswith(("HTTP/1.1 4", "HTTP/1.1 501")), answer
    assert "<html" not in answer.lower()


def test_many_at_once(bucket: Bucket) -> None:
    """More senders than there are part buffers, and readers between them."""
    size = 200_000
    upload = bucket.uploads.begin("b", size)
    data = os.urandom(size * 3 * DATA_PORT_PARTS_MAX)

    def send(number: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", bucket.port.port, timeout=30)
        body = data[(number - 1) * size : number * size]
        sent, _ = ask(connection, "PUT", bucket.part_target(upload, number, size), body=body)
        read, got = ask(connection, "GET", bucket.read_target("a/blob"), Range="bytes=100000-299999")
        connection.close()
        assert (read.status, got == BLOB[100_000:300_000]) == (206, True)
        return sent.status

    with ThreadPoolExecutor(3 * DATA_PORT_PARTS_MAX) as pool:
        assert set(pool.map(send, range(1, 3 * DATA_PORT_PARTS_MAX + 1))) == {200}
    bucket.uploads.complete("b", upload, bucket.uploads.record(upload).parts)
    with bucket.files.open("b") as file:
        assert file.read() == data


def test_a_connection_too_many_is_turned_away(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert DATA_PORT_CONNECTIONS_MAX > 100
    monkeypatch.setattr(data_port, "DATA_PORT_CONNECTIONS_MAX", 2)
    held = [http.client.HTTPConnection("127.0.0.1", bucket.port.port, timeout=10) for _ in range(2)]
    for connection in held:
        ask(connection, "HEAD", bucket.read_target("a/blob"))
    with socket.create_connection(("127.0.0.1", bucket.port.port)) as sock:
        assert sock.makefile("rb").readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
    for connection in held:
        assert ask(connection, "HEAD", bucket.read_target("a/blob"))[0].status == 200
        connection.close()


def test_a_host_without_threads_turns_a_connection_away_and_takes_the_next(
    bucket: Bucket, client: http.client.HTTPConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(data_port.threading, "Thread", Unstartable)
        assert ask(client, "GET", bucket.read_target("a/blob"))[0].status == 503
    client.close()
    assert ask(client, "GET", bucket.read_target("a/blob"))[1] == BLOB


class Unstartable(threading.Thread):
    """As Python says it when the kernel gives none."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_a_connection_that_is_idle_too_long_is_hung_up_on(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exchange, "timeout", 0.1)
    upload = bucket.uploads.begin("b", 1000)
    half_a_part = f"PUT {bucket.part_target(upload, 1, 4)} HTTP/1.1\r\nContent-Length: 4\r\n\r\nda"
    for sent in ("", "GET /blobs", half_a_part):
        with socket.create_connection(("127.0.0.1", bucket.port.port), timeout=10) as sock:
            sock.sendall(sent.encode())
            assert sock.recv(1) == b""
    assert bucket.uploads.record(upload).parts == ()


def test_a_sender_that_lets_bytes_trickle_is_hung_up_on(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_port_exchange, "DATA_PORT_IDLE_S_MAX", 0.3)
    monkeypatch.setattr(data_port_exchange, "DATA_PORT_PART_S_MAX", 0.3)
    upload = bucket.uploads.begin("b", 1000)
    of_a_part = f"PUT {bucket.part_target(upload, 1, 1000)} HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"
    refused = "PUT /uploads/1/1 HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"
    for sent in ("", "GET /blobs", "GET /blobs HTTP/1.1\r\nA: ", of_a_part, refused):
        with socket.create_connection(("127.0.0.1", bucket.port.port)) as sock:
            sock.sendall(sent.encode())
            assert _hung_up(sock, within_s=5), sent
    assert bucket.uploads.record(upload).parts == ()


def _hung_up(sock: socket.socket, within_s: float) -> bool:
    """Whether the other side ends a connection on which a byte arrives now and then."""
    sock.settimeout(0.05)
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            sock.sendall(b"a")
            if not sock.recv(4096):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_closing_cuts_connections_and_ends_every_thread(bucket: Bucket) -> None:
    address = ("127.0.0.1", bucket.port.port)
    with socket.create_connection(address) as idle, socket.create_connection(address) as reading:
        reading.sendall(f"GET {bucket.read_target('a/blob')} HTTP/1.1\r\n\r\n".encode())
        assert reading.recv(4) == b"HTTP"
        bucket.port.close()
        assert idle.recv(1) == b""
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("data-port")]
    bucket.port.close()


def test_a_port_in_use_is_said_to_be(bucket: Bucket) -> None:
    second = DataPort(bucket.root, KEY, "127.0.0.1", bucket.port.port)
    with pytest.raises(Refused, match=r"set data_port of .control. to another port"):
        second.start("data_port of [control]")


def test_a_closed_port_can_be_started_again_at_once_at_the_same_place(bucket: Bucket) -> None:
    port = bucket.port.port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    ask(connection, "HEAD", bucket.read_target("a/blob"))
    bucket.port.close()
    connection.close()
    again = DataPort(bucket.root, KEY, "127.0.0.1", port)
    again.start()
    try:
        assert ask(connection, "HEAD", bucket.read_target("a/blob"))[0].status == 200
    finally:
        connection.close()
        again.close()


def test_what_is_read_keeps_to_the_limit_and_two_blobs_share_it(tmp_path: Path) -> None:
    files = BlobFiles(tmp_path / "limited")
    files.prepare()
    bytes_per_s, blob = 2_000_000, BLOB[:1_000_000]
    names = ("a", "b")
    for name in names:
        files.put(name, blob)
    port = DataPort(tmp_path / "limited", KEY, "127.0.0.1", 0, Limiter(bytes_per_s))
    port.start()
    buffers = {name: bytearray(len(blob)) for name in names}
    ended: dict[str, float] = {}

    def read(name: str) -> None:
        with GrantConnection(timeout_s=10) as connection:
            connection.read_into(grant_read(port.url, KEY, name, FAR), 0, memoryview(buffers[name]))
        ended[name] = time.monotonic()

    begun = time.monotonic()
    with ThreadPoolExecutor() as pool:
        list(pool.map(read, names))
    port.close()
    first, last = sorted(at - begun for at in ended.values())
    assert all(buffer == blob for buffer in buffers.values())
    assert last > (2 * len(blob) - ORIGIN_SLICE_BYTES) / bytes_per_s - RATE_SLACK_S
    assert first > last / 2 * 1.2, "one after the other would be done at half the time"


def test_a_reader_that_leaves_gives_its_place_in_line_to_the_next(tmp_path: Path) -> None:
    files = BlobFiles(tmp_path / "limited")
    files.prepare()
    files.put("a", BLOB)
    limit = Limiter(1)
    port = DataPort(tmp_path / "limited", KEY, "127.0.0.1", 0, limit)
    port.start()
    with GrantConnection(timeout_s=0.5) as connection, pytest.raises(Unavailable):
        connection.read_into(grant_read(port.url, KEY, "a", FAR), 0, memoryview(bytearray(len(BLOB))))
    deadline = time.monotonic() + 10
    while len(limit._line):
        assert time.monotonic() < deadline, "it waits for nobody"
        threading.Event().wait(0.01)
    # Nor does closing wait for those whose turn is hours away.
    with socket.create_connection(("127.0.0.1", port.port)) as waiting:
        waiting.sendall(f"GET {grant_read('', KEY, 'a', FAR).url} HTTP/1.1\r\n\r\n".encode())
        assert waiting.recv(4) == b"HTTP"
        begun = time.monotonic()
        port.close()
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize("background", [True, False])
def test_connections_are_marked_where_that_is_wanted(tmp_path: Path, background: bool) -> None:
    port = DataPort(tmp_path, KEY, "127.0.0.1", 0, background=background)
    port.start()
    server = port._server
    assert server is not None
    assert server.socket.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == (LOWER_EFFORT if background else 0)
    port.close()
