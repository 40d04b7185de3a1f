"""Calls to an etcd cluster through the JSON gateway that every server has on its client port.

Any server will do; calls go to one of them until it fails, then to the next. What may have been done is only asked again of
another server when doing it twice is doing it once.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2
import msgspec
import structlog

from fleetcast import __version__
from fleetcast.model.errors import Invalid, NotFound
from fleetcast.model.limits import (
    ANSWER_BYTES_MAX,
    ETCD_ANSWER_S_MAX,
    ETCD_CALL_S_MAX,
    ETCD_CONNECT_S_MAX,
    ETCD_CONNECTIONS_MAX,
    ETCD_EVENTS_BYTES_MAX,
    HTTP_KEEP_ALIVE_S,
)
from fleetcast.stores import etcd_errors
from fleetcast.stores.etcd_access import EtcdAccess, closed_text, user_of
from fleetcast.stores.etcd_messages import AuthenticateReply, Problem, Version, WatchLine, WatchReply, decoded

log = structlog.get_logger(__name__)

T = TypeVar("T")

_HAS_LEADER: Final = {"Grpc-Metadata-hasleader": "true"}
"""A server that is cut off from the others ends such a watch, instead of having nothing to say for ever."""
_AUTHENTICATION_OFF: Final = "authentication is not enabled"


class _Failed(Exception):
    """One server did not do it; ``undone``: surely not, so that another may be asked."""

    def __init__(self, reason: str, *, undone: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.undone = undone


class EtcdGateway:
    """Use from one event loop; close it there with :meth:`aclose`."""

    def __init__(self, access: EtcdAccess) -> None:
        """Raises :class:`Invalid` and :class:`NotFound` for the files that ``access`` names."""
        self.access = access
        self._user = user_of(access)
        self._token = ""
        self._server = access.servers[0]
        """The one that is asked."""
        self._client = httpx2.AsyncClient(
            headers={"user-agent": f"fleetcast/{__version__}"},
            verify=_trust(access) if access.encrypted else False,
            trust_env=False,
            timeout=httpx2.Timeout(ETCD_ANSWER_S_MAX, connect=ETCD_CONNECT_S_MAX),
            limits=httpx2.Limits(max_connections=ETCD_CONNECTIONS_MAX, keepalive_expiry=HTTP_KEEP_ALIVE_S),
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def version(self) -> tuple[Version, str]:
        """Of the server that is asked, and the date that it gives, in the form of HTTP; empty: none. Raises
        :class:`Unavailable`."""
        try:
            answer = await self._client.get(f"{self._server}/version")
        except (httpx2.RequestError, OSError) as error:
            raise etcd_errors.away(_reason(error), self.access.place) from error
        try:
            return decoded(answer.content, Version), answer.headers.get("date", "")
        except msgspec.MsgspecError:
            raise etcd_errors.not_etcd(answer.status_code, self.access.place) from None

    async def call(self, path: str, message: Mapping[str, Any], reply: type[T], *, repeatable: bool = True) -> T:
        """Ask one server after another until one answers.

        Raises:
            Unavailable: none did, or too much of ours waits for them (``kv_busy``); for what is not ``repeatable``, the code
                ``kv_unanswered`` says that it may have been done.
            Compacted, Invalid: it was refused.
        """
        reason = f"none answered within {ETCD_CALL_S_MAX} s"
        undone = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ETCD_CALL_S_MAX):
                for _ in self.access.servers:
                    undone = False  # from here on this server may do it
                    server = self._server
                    try:
                        return await self._ask(server, path, message, reply)
                    except _Failed as failed:
                        self._leave(server, failed.reason)
                        reason, undone = failed.reason, failed.undone
                    if not (undone or repeatable):
                        break
        if repeatable or undone:
            raise etcd_errors.away(reason, self.access.place)
        raise etcd_errors.unanswered(reason, self.access.place)

    @contextlib.asynccontextmanager
    async def watch(self, key: bytes, end: bytes, start_revision: int) -> AsyncIterator[AsyncIterator[WatchReply]]:
        """What is written in ``[key, end)`` from a revision on, until the server ends it.

        Raises :class:`Unavailable` when it cannot be begun, or breaks; another server is asked next time.
        """
        create = {"key": key, "range_end": end, "start_revision": start_revision, "fragment": True}
        server = self._server
        try:
            headers = {**_HAS_LEADER, **await self._authorization(server)}
            body = msgspec.json.encode({"create_request": create})
            asked = self._client.stream(
                "POST",
                f"{server}/v3/watch",
                content=body,
                headers=headers,
                timeout=httpx2.Timeout(None, connect=ETCD_CONNECT_S_MAX),
            )
            async with asked as response:
                if response.status_code != httpx2.codes.OK:
                    raise self._refused(response.status_code, await _read(response))
                async with contextlib.aclosing(self._replies(response)) as replies:
                    yield replies
        except (httpx2.RequestError, OSError) as error:
            self._leave(server, _reason(error))
            raise etcd_errors.away(_reason(error), self.access.place) from error
        except _Failed as failed:
            self._leave(server, failed.reason)
            raise etcd_errors.away(failed.reason, self.access.place) from failed

    async def _replies(self, response: httpx2.Response) -> AsyncGenerator[WatchReply, None]:
        async with contextlib.aclosing(_lines(response)) as lines:
            async for line in lines:
                try:
                    told = decoded(line, WatchLine)
                except msgspec.MsgspecError:
                    raise etcd_errors.not_etcd(response.status_code, self.access.place) from None
                if told.error is not None:
                    raise _Failed(told.error.message, undone=False)
                if told.result.canceled and not told.result.compact_revision:
                    self._token = ""  # that may be why
                    raise _Failed(told.result.cancel_reason or "the watch was ended there", undone=False)
                yield told.result

    async def _ask(self, server: str, path: str, message: Mapping[str, Any], reply: type[T]) -> T:
        body = msgspec.json.encode(message)
        for last in (False, True):
            status, answer = await self._post(server, path, body, await self._authorization(server))
            if status == httpx2.codes.OK:
                try:
                    return decoded(answer, reply)
                except msgspec.MsgspecError:
                    raise etcd_errors.not_etcd(status, self.access.place) from None
            problem = _problem(answer)
            if last or self._user is None or problem is None or not etcd_errors.wants_new_token(problem):
                raise self._refused(status, answer)
            self._token = ""
        raise AssertionError("the second attempt answers or raises")

    async def _post(self, server: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            async with self._client.stream("POST", f"{server}{path}", content=body, headers=headers) as response:
                return response.status_code, await _read(response)
        except httpx2.PoolTimeout as error:  # the pool is ours: no server is to be left for that
            raise etcd_errors.crowded(self.access.place) from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise _Failed(_reason(error), undone=True) from error
        except (httpx2.RequestError, OSError) as error:
            raise _Failed(_reason(error), undone=False) from error

    async def _authorization(self, server: str) -> Mapping[str, str]:
        if self._user is None:
            return {}
        if not self._token:
            name, password = self._user
            message = msgspec.json.encode({"name": name, "password": password})
            status, answer = await self._post(server, "/v3/auth/authenticate", message, {})
            problem = _problem(answer) if status != httpx2.codes.OK else None
            if problem is not None and _AUTHENTICATION_OFF in problem.message:
                return {}
            if status != httpx2.codes.OK:
                raise self._refused(status, answer)
            self._token = decoded(answer, AuthenticateReply).token
        return {"authorization": self._token}

    def _refused(self, status: int, answer: bytes) -> Exception:
        problem = _problem(answer)
        if problem is None:
            return etcd_errors.not_etcd(status, self.access.place)
        if etcd_errors.is_away(problem):
            return _Failed(problem.message, undone=etcd_errors.surely_not_done(problem))
        return etcd_errors.refusal(problem, self.access.place)

    def _leave(self, server: str, reason: str) -> None:
        """Ask the next one from now on, unless somebody has gone on from this one already."""
        servers = self.access.servers
        if server == self._server and len(servers) > 1:
            self._server = servers[(servers.index(server) + 1) % len(servers)]
            log.info("etcd_server_left", server=server, next=self._server, reason=etcd_errors.said(reason))


async def _read(response: httpx2.Response) -> bytes:
    answer = bytearray()
    async for part in response.aiter_bytes():
        answer += part
        if len(answer) > ANSWER_BYTES_MAX:
            raise _Failed(f"an answer of more than {ANSWER_BYTES_MAX} bytes", undone=False)
    return bytes(answer)


async def _lines(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    rest = bytearray()
    async for part in response.aiter_bytes():
        rest += part
        if b"\n" in part:
            *lines, last = rest.split(b"\n")
            rest = bytearray(last)
            for line in lines:
                if line.strip():
                    yield bytes(line)
        if len(rest) > ETCD_EVENTS_BYTES_MAX:
            raise _Failed(f"a message of more than {ETCD_EVENTS_BYTES_MAX} bytes", undone=False)


def _problem(answer: bytes) -> Problem | None:
    try:
        problem = decoded(answer, Problem)
    except msgspec.MsgspecError:
        return None
    return problem if problem.message else None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _trust(access: EtcdAccess) -> ssl.SSLContext:
    named = access.ca_file != Path()
    try:
        trust = ssl.create_default_context(cafile=access.ca_file if named else None)
        if access.certificate_file != Path():
            closed_text(access.key_file, "kv_key_file")
            trust.load_cert_chain(access.certificate_file, access.key_file, password=_no_password)
    except FileNotFoundError:
        files = ", ".join(str(path) for path in (access.ca_file, access.certificate_file) if path != Path())
        raise NotFound(
            "no_kv_file", f"one of {files} is not there: make it, or correct kv_ca_file and kv_certificate_file"
        ) from None
    except (OSError, ValueError) as error:
        raise Invalid(
            "bad_kv_file",
            f"the certificates or the key for etcd cannot be used ({error}): they are PEM files, the key has no password",
        ) from None
    return trust


def _no_password() -> str:
    raise ValueError("the key wants a password")
