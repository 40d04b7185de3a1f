"""Calling: one session per server, with its token, messages in and out, and errors as ours."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import httpx2
from httpx2 import ServerSentEvent

from fleetcast import __version__
from fleetcast.http import messages
from fleetcast.http.problems import raise_problem
from fleetcast.model.errors import Incompatible, Unavailable
from fleetcast.model.limits import (
    ANSWER_BYTES_MAX,
    HTTP_CONNECT_S_MAX,
    HTTP_CONNECTIONS_MAX,
    HTTP_KEEP_ALIVE_S,
    HTTP_TIMEOUT_S,
    STREAM_EVENT_BYTES_MAX,
    STREAM_SILENCE_S_MAX,
)

T = TypeVar("T")
Params: TypeAlias = Mapping[str, str | int | float]

UNREACHABLE: Final = "unreachable"
"""Code of an :class:`Unavailable` after which the call was surely not carried out: there was nobody to send it to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a server that is none of ours."""

    status: int
    body: bytes
    """Its beginning."""
    retry_after_s: int | None
    """What it asks for; ``None``: nothing, or a date."""


class Session:
    """Talks to one server. Safe to use from many tasks of one event loop; close it with :meth:`aclose`.

    Every call either answers, or raises an error of ``model/errors.py``: the server's own, or :class:`Unavailable` when
    there was no answer in time. After :class:`Unavailable` the call may or may not have been carried out.
    """

    def __init__(self, base_url: str, token: str = "") -> None:
        self.base_url = base_url.rstrip("/")
        headers = {"user-agent": f"fleetcast/{__version__}", "accept": messages.JSON}
        if token:
            headers["authorization"] = f"Bearer {token}"
        self._client = httpx2.AsyncClient(
            base_url=self.base_url,
            headers=headers,
            # Reading the system's certificates costs 20 ms and megabytes: only where they are needed.
            verify=ssl.create_default_context() if self.base_url.startswith("https:") else False,
            # Processes of one installation talk directly: a proxy named in the environment is not meant for them.
            trust_env=False,
            timeout=httpx2.Timeout(None, connect=HTTP_CONNECT_S_MAX),
            limits=httpx2.Limits(max_connections=HTTP_CONNECTIONS_MAX, keepalive_expiry=HTTP_KEEP_ALIVE_S),
        )

    async def call(
        self,
        method: str,
        path: str,
        body: object | None = None,
        *,
        reply: type[T],
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = HTTP_TIMEOUT_S,
    ) -> T | None:
        """Send ``body`` as JSON and read a ``reply``; ``None`` when the server has nothing to say (204).

        ``timeout_s`` bounds the whole call; a long poll adds what it asks the server to wait.
        """
        content = None if body is None else messages.encode(body)
        sent = {**(headers or {}), **({} if body is None else {"content-type": messages.JSON})}
        try:
            async with asyncio.timeout(timeout_s):
                status, answer = await self._exchange(method, path, content, sent, params)
        except TimeoutError:
            raise self._unavailable("timeout", f"did not answer within {timeout_s:g} s") from None
        except (httpx2.RequestError, OSError) as error:
            raise self._broken(error) from error
        if status == 204:
            return None
        if not 200 <= status < 300:
            raise_problem(status, answer)
        return messages.decode(answer, reply, self.base_url)

    async def ask(
        self,
        method: str,
        path: str,
        body: object | None = None,
        *,
        reply: type[T],
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = HTTP_TIMEOUT_S,
    ) -> T:
        """As :meth:`call`, where the server always has an answer."""
        answer = await self.call(method, path, body, reply=reply, params=params, headers=headers, timeout_s=timeout_s)
        if answer is None:
            raise self._unavailable("empty_answer", f"gave an empty answer to {method} {path}")
        return answer

    async def post(
        self, path: str, content: bytes, headers: Mapping[str, str], *, timeout_s: float, answer_bytes_max: int
    ) -> Answer:
        """Send ``content`` as it is, to a server that does not speak in our messages, and read the beginning of its answer.

        Raises:
            Unavailable: there was no answer in time.
        """
        return await self._beginning("POST", path, content, headers, timeout_s, answer_bytes_max)

    async def get(self, path: str, *, params: Params | None = None, timeout_s: float, answer_bytes_max: int) -> Answer:
        """What such a server answers, whatever its status. Redirects are not followed. Raises as :meth:`post`."""
        return await self._beginning("GET", path, None, {}, timeout_s, answer_bytes_max, params)

    async def _beginning(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: Mapping[str, str],
        timeout_s: float,
        answer_bytes_max: int,
        params: Params | None = None,
    ) -> Answer:
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._client.stream(method, path, content=content, headers=headers, params=params) as response,
            ):
                answer = bytearray()
                async for piece in response.aiter_bytes():
                    answer += piece
                    if len(answer) >= answer_bytes_max:
                        break
                asked = response.headers.get("retry-after", "")
                retry_after_s = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else None
                return Answer(response.status_code, bytes(answer[:answer_bytes_max]), retry_after_s)
        except TimeoutError:
            raise self._unavailable("timeout", f"did not answer within {timeout_s:g} s") from None
        except (httpx2.RequestError, httpx2.InvalidURL, OSError) as error:
            raise self._broken(error) from error

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, *, params: Params, last_event_id: str = ""
    ) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
        """The server-sent events of a route, until the server ends them. Once inside, the server has agreed to tell them.

        Raises:
            Incompatible: the server is too old to have streams.
            Unavailable: the connection broke, or nothing came for ``STREAM_SILENCE_S_MAX``.
        """
        asked = self._client.sse(
            path,
            params=params,
            headers={"last-event-id": last_event_id} if last_event_id else {},
            timeout=httpx2.Timeout(None, connect=HTTP_CONNECT_S_MAX, read=STREAM_SILENCE_S_MAX),
            max_event_size=STREAM_EVENT_BYTES_MAX,
        )
        try:
            async with asked as events:
                answer = events.response
                if answer.status_code != 200:
                    raise_problem(answer.status_code, await answer.aread())
                if not answer.headers.get("content-type", "").startswith(messages.EVENT_STREAM):
                    raise Incompatible("no_stream", f"{self.base_url} knows no stream of {path}: upgrade the older one")
                yield aiter(events)
        except (httpx2.RequestError, OSError) as error:
            raise self._broken(error) from error

    async def aclose(self) -> None:
        """Close all connections. Nothing may be called afterwards."""
        await self._client.aclose()

    async def _exchange(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: Mapping[str, str],
        params: Params | None,
    ) -> tuple[int, bytes]:
        async with self._client.stream(method, path, content=content, headers=headers, params=params) as response:
            answer = bytearray()
            async for piece in response.aiter_bytes():
                answer += piece
                if len(answer) > ANSWER_BYTES_MAX:
                    raise self._unavailable("answer_too_large", f"answered with more than {ANSWER_BYTES_MAX} bytes")
            return response.status_code, bytes(answer)

    def _broken(self, error: Exception) -> Unavailable:
        why = str(error) or type(error).__name__
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return self._unavailable(UNREACHABLE, f"cannot be reached ({why})")
        return self._unavailable("answer_lost", f"broke off before it had answered ({why})")

    def _unavailable(self, code: str, what: str) -> Unavailable:
        return Unavailable(code, f"{self.base_url} {what}: check that it runs, then try again")
