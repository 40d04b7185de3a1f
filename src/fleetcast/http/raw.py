"""Messages over bare ASGI, for routes so hot that a framework's way to a handler is too long."""

from __future__ import annotations

from collections.abc import Mapping

from litestar.types import Receive, Scope, Send

from fleetcast.http import messages
from fleetcast.http.application import caller_left, problem_of_exception
from fleetcast.http.problems import PROBLEM_JSON, headers_of
from fleetcast.model.errors import TooLarge
from fleetcast.model.limits import MESSAGE_BYTES_MAX


def authorization(scope: Scope) -> str | None:
    """The ``Authorization`` header, for :meth:`fleetcast.http.tokens.TokenSet.authorize`."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return value.decode("latin-1")
    return None


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request.

    Raises:
        TooLarge: it is larger than ``MESSAGE_BYTES_MAX``.
        Unavailable: the caller left in the middle of it.
    """
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] != "http.request":
            raise caller_left()
        body += event["body"]
        if len(body) > MESSAGE_BYTES_MAX:
            raise TooLarge("message_too_large", f"a message has at most {MESSAGE_BYTES_MAX} bytes")
        if not event["more_body"]:
            return bytes(body)


async def answer(send: Send, value: object) -> None:
    """Send ``value`` with status 200."""
    await _send(send, 200, {"Content-Type": messages.JSON}, messages.encode(value))


async def answer_error(send: Send, error: Exception) -> None:
    """Send the problem details of whatever a route raised."""
    problem = problem_of_exception(error)
    await _send(send, problem.status, {"Content-Type": PROBLEM_JSON, **headers_of(problem)}, messages.encode(problem))


async def _send(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    told = {**headers, "Content-Length": str(len(body))}
    encoded = [(name.lower().encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": False})
