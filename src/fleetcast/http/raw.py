"""Messages over bare ASGI, for routes so hot that a framework's way to a handler is too long."""

from __future__ import annotations

from litestar.types import Receive, Scope, Send

from fleetcast.http import messages
from fleetcast.http.application import problem_of_exception
from fleetcast.http.problems import PROBLEM_JSON
from fleetcast.model.errors import Invalid, Unavailable
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
        Invalid: it is larger than ``MESSAGE_BYTES_MAX``.
        Unavailable: the caller left in the middle of it.
    """
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] != "http.request":
            raise Unavailable("caller_gone", "the caller left while it sent its request")
        body += event["body"]
        if len(body) > MESSAGE_BYTES_MAX:
            raise Invalid("message_too_large", f"a message has at most {MESSAGE_BYTES_MAX} bytes")
        if not event["more_body"]:
            return bytes(body)


async def answer(send: Send, value: object) -> None:
    """Send ``value`` with status 200."""
    await _send(send, 200, messages.JSON, messages.encode(value))


async def answer_error(send: Send, error: Exception) -> None:
    """Send the problem details of whatever a route raised."""
    problem = problem_of_exception(error)
    await _send(send, problem.status, PROBLEM_JSON, messages.encode(problem))


async def _send(send: Send, status: int, media_type: str, body: bytes) -> None:
    headers = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
