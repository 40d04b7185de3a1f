"""Bulk data by grant, synchronously, for threads: straight between a socket and the caller's buffer (law 10)."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, urlsplit

from fleetcast.model.errors import FleetcastError, Forbidden, Invalid, NotFound, Unavailable
from fleetcast.model.limits import HTTP_TIMEOUT_S
from fleetcast.model.messages.grants import Grant
from fleetcast.stores.marking import mark_background

_ERROR_TEXT_BYTES_MAX = 4096
_S3_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_S3_EXPIRED = frozenset({"ExpiredToken", "RequestExpired", "AuthorizationQueryParametersError", "InvalidToken"})
"""What an S3-compatible store answers with 400 although it is the grant that is no good."""
_S3_AGAIN = frozenset({"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable"})
_LENGTH = re.compile(r"[0-9]{1,15}")


class GrantConnection:
    """Uses grants of any store, one after another; keeps a connection to each host and makes a new one when it broke.

    For one thread at a time. What it does may be repeated, and it repeats once itself when a kept connection turns out to be
    dead. Raises :class:`Unavailable` (repeat), :class:`Forbidden` (expired: get a new grant), :class:`NotFound`,
    :class:`Invalid`; after any of them it can be used again.
    """

    def __init__(self, *, timeout_s: float = HTTP_TIMEOUT_S, background: bool = False) -> None:
        """``background``: mark its connections."""
        self._timeout_s = timeout_s
        self._background = background
        self._kept: dict[tuple[str, str], http.client.HTTPConnection] = {}
        self._tls: ssl.SSLContext | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def read_into(self, grant: Grant, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` (of bytes, perhaps empty) with what the blob has from ``offset`` on.

        :class:`Invalid`: the blob ends before. On any error the buffer's contents mean nothing.
        """
        if len(buffer):
            with self.reading(grant, offset, len(buffer)) as fill:
                fill(buffer)

    @contextmanager
    def reading(self, grant: Grant, offset: int, length: int) -> Iterator[Callable[[memoryview], None]]:
        """The same in one request for what goes to many buffers: what is yielded fills one after another. ``length``: bytes
        they have together, at least one. Whoever leaves before the last one gives the connection up.
        """
        last = offset + length - 1
        response = self._send(grant, {"Range": f"bytes={offset}-{last}"}, None)
        if response.status != http.client.PARTIAL_CONTENT:
            with self._answered(grant, response):
                raise _refusal(grant, response)
        try:
            span = response.getheader("Content-Range", "").partition("/")[0]
            if span != f"bytes {offset}-{last}" or response.length != length:
                raise Invalid("range_past_end", f"asked for bytes {offset} to {last}, offered {span or 'something else'}")
            yield partial(_fill, grant, response)
        finally:
            self._leave(grant, response)

    def size(self, grant: Grant) -> int:
        """Bytes of the blob that a read grant of a data port is for, by HEAD."""
        response = self._send(grant, {}, None, method="HEAD")
        with self._answered(grant, response):
            if response.status != http.client.OK:
                raise _refusal(grant, response)
            text = response.getheader("Content-Length", "")
            response.read()
            if not _LENGTH.fullmatch(text):
                raise Unavailable("bad_answer", f"{_host(grant)} does not say how long the blob is: is it a data port?")
            return int(text)

    def write(self, grant: Grant, data: memoryview) -> str:
        """Send one part; returns its ``ETag`` without quotes. A repeat is harmless."""
        response = self._send(grant, {"Content-Length": str(len(data))}, data)
        with self._answered(grant, response):
            if response.status not in (http.client.OK, http.client.CREATED, http.client.NO_CONTENT):
                raise _refusal(grant, response)
            response.read(_ERROR_TEXT_BYTES_MAX)
            etag = response.getheader("ETag", "").strip('"')
            if not etag:
                raise Unavailable("bad_answer", f"{_host(grant)} did not answer with an ETag: is it a blob store?")
            return etag

    def close(self) -> None:
        """Close all connections; a later call makes new ones."""
        while self._kept:
            self._kept.popitem()[1].close()

    def _send(
        self, grant: Grant, headers: Mapping[str, str], body: memoryview | None, *, method: str | None = None
    ) -> http.client.HTTPResponse:
        parts = _address(grant)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        while True:
            kept = (parts.scheme, parts.netloc) in self._kept
            connection = self._connection(parts.scheme, parts.netloc)
            try:
                if not kept and self._background:
                    connection.connect()
                    mark_background(connection.sock)
                connection.request(method or grant.method, target, body=body, headers={**grant.headers, **headers})
                return connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                self._drop(grant)
                if not kept:
                    raise _unreachable(grant, error) from error
            except ValueError as error:  # a host that is no name, a header that is none
                self._drop(grant)
                raise _no_address() from error
            except BaseException:
                self._drop(grant)
                raise

    @contextmanager
    def _answered(self, grant: Grant, response: http.client.HTTPResponse) -> Iterator[None]:
        """Around the reading of an answer."""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(grant, error) from error
        finally:
            self._leave(grant, response)

    def _leave(self, grant: Grant, response: http.client.HTTPResponse) -> None:
        """A connection on which some of an answer is left cannot be used again."""
        if not response.isclosed():
            self._drop(grant)

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        connection = self._kept.get((scheme, netloc))
        if connection is None:
            if scheme == "https":
                self._tls = self._tls or ssl.create_default_context()
                connection = http.client.HTTPSConnection(netloc, timeout=self._timeout_s, context=self._tls)
            elif scheme == "http":
                connection = http.client.HTTPConnection(netloc, timeout=self._timeout_s)
            else:
                raise Invalid("bad_grant", f"a grant's URL begins with http or https, not with {scheme!r}: ask for a new one")
            self._kept[scheme, netloc] = connection
        return connection

    def _drop(self, grant: Grant) -> None:
        parts = urlsplit(grant.url)
        connection = self._kept.pop((parts.scheme, parts.netloc), None)
        if connection is not None:
            connection.close()


def _fill(grant: Grant, response: http.client.HTTPResponse, buffer: memoryview) -> None:
    done = 0
    while done < len(buffer):
        try:
            count = response.readinto(buffer[done:])
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(grant, error) from error
        if not count:
            raise _unreachable(grant, http.client.IncompleteRead(b"", len(buffer) - done))
        done += count


def _refusal(grant: Grant, response: http.client.HTTPResponse) -> FleetcastError:
    """The error for an answer that is not the one hoped for, with the first line of what it says."""
    text = response.read(_ERROR_TEXT_BYTES_MAX).decode("utf-8", "replace").strip()
    code = found[1] if (found := _S3_CODE.search(text)) else ""
    said = f"{_host(grant)} answered {response.status} {response.reason}: {code or _first_line(text)}"
    if code in _S3_EXPIRED:
        return Forbidden("bad_grant", f"{said} (ask for a new grant)")
    if code in _S3_AGAIN:
        return Unavailable("bucket_unavailable", f"{said} (try again)")
    match response.status:
        case http.client.NOT_FOUND:
            return NotFound("no_blob", f"{said} (is the blob, or the upload, still there?)")
        case http.client.UNAUTHORIZED | http.client.FORBIDDEN:
            return Forbidden("bad_grant", f"{said} (ask for a new grant)")
        case http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return Invalid("range_past_end", f"{said} (the blob is shorter)")
        case http.client.REQUEST_TIMEOUT | http.client.TOO_MANY_REQUESTS:
            return Unavailable("bucket_unavailable", f"{said} (try again)")
        case status if http.client.BAD_REQUEST <= status < http.client.INTERNAL_SERVER_ERROR:
            return Invalid("bad_transfer", f"{said} (the request must be corrected)")
        case _:
            return Unavailable("bucket_unavailable", f"{said} (try again)")


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _unreachable(grant: Grant, error: Exception) -> Unavailable:
    reason = str(error) or type(error).__name__
    return Unavailable(
        "bucket_unreachable", f"cannot reach {_host(grant)}: {reason}: is it up, and is the URL right? try again"
    )


def _address(grant: Grant) -> SplitResult:
    """The parts of a grant's URL. It came from another process: :class:`Invalid` unless it names a host and a port there is."""
    try:
        parts = urlsplit(grant.url)
        if parts.hostname and parts.port != 0 and grant.url.isascii():
            return parts
    except ValueError as error:
        raise _no_address() from error
    raise _no_address()


def _no_address() -> Invalid:
    # Without the URL: it is the grant.
    return Invalid("bad_grant", "a grant's URL is no address: correct the URL of the data port that it came from")


def _host(grant: Grant) -> str:
    """What of the URL may be shown: the rest is the grant."""
    return urlsplit(grant.url).netloc
