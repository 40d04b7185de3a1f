"""Calling: one session per server, with its token, messages in and out, and errors as ours."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import TypeVar

import httpx2

from fleetcast import __version__
from fleetcast.http import messages
from fleetcast.http.problems import raise_problem
from fleetcast.model.errors import Unavailable
from fleetcast.model.limits import (
    ANSWER_BYTES_MAX,
    HTTP_CONNECT_S_MAX,
    HTTP_CONNECTIONS_MAX,
    HTTP_KEEP_ALIVE_S,
    HTTP_TIMEOUT_S,
)

T = TypeVar("T")


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
        params: Mapping[str, str | int | float] | None = None,
        timeout_s: float = HTTP_TIMEOUT_S,
    ) -> T | None:
        """Send ``body`` as JSON and read a ``reply``; ``None`` when the server has nothing to say (204).

        ``timeout_s`` bounds the whole call; a long poll adds what it asks the server to wait.
        """
        content = None if body is None else messages.encode(body)
        headers = {} if body is None else {"content-type": messages.JSON}
        try:
            async with asyncio.timeout(timeout_s):
                status, answer = await self._exchange(method, path, content, headers, params)
        except TimeoutError:
            raise self._unavailable("timeout", f"did not answer within {timeout_s:g} s") from None
        except (httpx2.RequestError, OSError) as error:
            raise self._unavailable("unreachable", f"cannot be reached ({str(error) or type(error).__name__})") from error
        if status == 204:
            return None
        if not 200 <= status < 300:
            raise_problem(status, answer)
        return messages.decode(answer, reply)

    async def ask(
        self,
        method: str,
        path: str,
        body: object | None = None,
        *,
        reply: type[T],
        params: Mapping[str, str | int | float] | None = None,
        timeout_s: float = HTTP_TIMEOUT_S,
    ) -> T:
        """As :meth:`call`, where the server always has an answer."""
        answer = await self.call(method, path, body, reply=reply, params=params, timeout_s=timeout_s)
        if answer is None:
            raise self._unavailable("empty_answer", f"gave an empty answer to {method} {path}")
        return answer

    async def aclose(self) -> None:
        """Close all connections. Nothing may be called afterwards."""
        await self._client.aclose()

    async def _exchange(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: Mapping[str, str],
        params: Mapping[str, str | int | float] | None,
    ) -> tuple[int, bytes]:
        async with self._client.stream(method, path, content=content, headers=headers, params=params) as response:
            answer = bytearray()
            async for piece in response.aiter_bytes():
                answer += piece
                if len(answer) > ANSWER_BYTES_MAX:
                    raise self._unavailable("answer_too_large", f"answered with more than {ANSWER_BYTES_MAX} bytes")
            return response.status_code, bytes(answer)

    def _unavailable(self, code: str, what: str) -> Unavailable:
        return Unavailable(code, f"{self.base_url} {what}: check that it runs, then try again")
