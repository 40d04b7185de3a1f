"""One connection of the data port: requests one after another, each proven by its grant before anything is done."""

from __future__ import annotations

import io
import math
import queue
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import structlog

from fleetcast.model.errors import FleetcastError, Invalid, Unavailable
from fleetcast.model.limits import (
    BLOB_PART_BYTES,
    DATA_PORT_IDLE_S_MAX,
    DATA_PORT_PART_S_MAX,
    DATA_PORT_PARTS_MAX,
    ORIGIN_SLICE_BYTES,
)
from fleetcast.stores.byte_range import asked_range
from fleetcast.stores.data_grants import granted_key, granted_part
from fleetcast.stores.limiter import Limiter
from fleetcast.stores.served import Served

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = structlog.get_logger(__name__)

_DISCARD_BYTES = 64 * 1024


class PartBuffers:
    """``DATA_PORT_PARTS_MAX`` buffers of ``BLOB_PART_BYTES``, made when first needed and used again and again."""

    def __init__(self) -> None:
        self._free: queue.LifoQueue[bytearray | None] = queue.LifoQueue()
        for _ in range(DATA_PORT_PARTS_MAX):
            self._free.put(None)

    @contextmanager
    def borrow(self, size: int) -> Iterator[memoryview]:
        """``size`` bytes, at most ``BLOB_PART_BYTES``. Raises :class:`Unavailable` when none gets free in time."""
        try:
            buffer = self._free.get(timeout=DATA_PORT_IDLE_S_MAX / 2)
        except queue.Empty:
            raise Unavailable("data_port_busy", "too many parts are being received: try again later") from None
        try:
            if buffer is None:
                buffer = bytearray(BLOB_PART_BYTES)
            yield memoryview(buffer)[:size]
        finally:
            self._free.put(buffer)


@dataclass(frozen=True, slots=True)
class ServedBucket:
    served: Served
    data_key: bytes
    buffers: PartBuffers
    limit: Limiter
    """Of what is read."""


class _Arriving(io.RawIOBase):
    """What a connection receives. Its own timeout bounds each wait; this bounds all of them together, for a sender that lets
    bytes trickle.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._deadline = math.inf

    def within(self, seconds: float) -> None:
        """What is read from now on must have arrived by then: later, reading raises :class:`TimeoutError`."""
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        if time.monotonic() > self._deadline:
            raise TimeoutError("the sender is slower than allowed")
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class Exchange(BaseHTTPRequestHandler):
    """Serves a connection from its first request to its last, in the constructor, as its base does."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # of a request that names none: it is answered with a status line too
    disable_nagle_algorithm = True
    timeout = DATA_PORT_IDLE_S_MAX

    def __init__(self, bucket: ServedBucket, request: Any, client_address: Any, server: Any) -> None:
        self._bucket = bucket
        self._unread = 0
        super().__init__(request, client_address, server)

    def setup(self) -> None:
        super().setup()
        self._arriving = _Arriving(self.rfile.detach())
        self.rfile = io.BufferedReader(self._arriving)

    def handle_one_request(self) -> None:
        self._arriving.within(DATA_PORT_IDLE_S_MAX)
        super().handle_one_request()

    def do_GET(self) -> None:
        self._answer(lambda: self._send_blob(with_body=True))

    def do_HEAD(self) -> None:
        self._answer(lambda: self._send_blob(with_body=False))

    def do_PUT(self) -> None:
        self._answer(self._receive_part)

    def _answer(self, action: Callable[[], None]) -> None:
        try:
            self._unread = self._content_length()
            action()
        except FleetcastError as error:
            log.info("data_port_refused", code=error.code, path=self.path.partition("?")[0][:600])
            self._refuse(error.status, f"{error.code}: {error.message}")
        self._discard_unread()

    def _send_blob(self, *, with_body: bool) -> None:
        key = granted_key(self._bucket.data_key, self.path, _now_ms())
        with self._bucket.served.open(key, look=not with_body) as blob:
            size = blob.size
            offset, length = 0, size
            asked = self.headers.get("Range")
            if asked is not None:
                span = asked_range(asked, size)
                if span is None:
                    text = f"range_past_end: {key} has {size} bytes: ask for one range of them"
                    self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, text, {"Content-Range": f"bytes */{size}"})
                    return
                offset, length = span
            headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "Content-Length": str(length)}
            if asked is not None:
                headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{size}"
            status = HTTPStatus.OK if asked is None else HTTPStatus.PARTIAL_CONTENT
            if not with_body or not length:
                self._head(status, headers)
                return
            with blob.sending(self.connection, offset, length) as send:
                self._head(status, headers)
                if not self._send_body(send, key, length):
                    self.close_connection = True  # what cannot be sent whole is cut short, so that nobody takes it for whole

    def _send_body(self, send: Callable[[int], bool], key: str, length: int) -> bool:
        """At once, or slice by slice as the limit allows. False: it cannot be read to its end, or the reader is gone."""
        limit, left = self._bucket.limit, length
        while left:
            size = min(ORIGIN_SLICE_BYTES, left) if limit.bytes_per_s else left
            try:
                if not limit.pay(key, size, self._reader_there) or not send(size):
                    return False
            except FleetcastError as error:  # too late to say so in a status
                log.warning("data_port_cut", code=error.code, reason=error.message)
                return False
            left -= size
        return True

    def _reader_there(self) -> bool:
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)
        return not poll.poll(0)

    def _receive_part(self) -> None:
        part = granted_part(self._bucket.data_key, self.path, _now_ms())
        if self._unread > min(part.size, BLOB_PART_BYTES):
            raise Invalid("part_too_large", f"{part.size} bytes were granted, {self._unread} announced: send no more than that")
        self._bucket.served.check_upload(part.upload)  # refuses an upload that is not open before its bytes travel
        with self._bucket.buffers.borrow(self._unread) as buffer:
            if not self._read_body(buffer):
                self.close_connection = True
                return
            etag = self._bucket.served.write_part(part.upload, part.number, buffer)
        self._head(HTTPStatus.OK, {"ETag": f'"{etag}"', "Content-Length": "0"})

    def _read_body(self, buffer: memoryview) -> bool:
        """Fill ``buffer``. False: the sender is gone."""
        self._arriving.within(DATA_PORT_PART_S_MAX)
        done = 0
        while done < len(buffer):
            count = self.rfile.readinto1(buffer[done:])
            if not count:
                return False
            done += count
            self._unread -= count
        return True

    def _discard_unread(self) -> None:
        """What a refused sender sends anyway is read, so that it gets to read the answer and can go on."""
        if self._unread > BLOB_PART_BYTES:
            self.close_connection = True
        self._arriving.within(DATA_PORT_IDLE_S_MAX)
        while self._unread and not self.close_connection:
            count = len(self.rfile.read1(min(self._unread, _DISCARD_BYTES)))
            self._unread -= count
            self.close_connection = not count

    def _content_length(self) -> int:
        text = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (text.isascii() and text.isdigit() and len(text) <= 15):
            self.close_connection = True
            raise Invalid("no_length", "a body must come with its Content-Length: send it whole, not in chunks")
        return int(text)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _refuse(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        body = f"{text}\n".encode()
        self._head(status, {**(headers or {}), "Content-Type": "text/plain", "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 -- the base class's signature
        """What the base class refuses by itself: a request that is none, or another method."""
        self.close_connection = True
        self._refuse(code, f"bad_request: {message or HTTPStatus(code).phrase}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Nothing: transfers are not news, and their URLs are secrets."""


def _now_ms() -> int:
    return round(time.time() * 1000)
