"""Callers who leave in the middle: nothing is wrong here then, and no log says so."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from litestar import Request, post
from litestar.params import JSONBody
from litestar.types import Receive, Scope, Send
from structlog.testing import capture_logs

from fleetcast.http import raw
from fleetcast.http.application import application
from fleetcast.http.tokens import TokenSet
from fleetcast.model.generation import Generation

SOON_S = 10.0


@post("/", status_code=200)
async def _routed(data: JSONBody[Generation]) -> Generation:
    return data


@post("/twice", status_code=200)
async def _read_twice(request: Request[Any, Any, Any]) -> None:
    for _ in range(2):
        async for _piece in request.stream():
            pass


async def _bare(_scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await raw.answer(send, await raw.read_body(receive))
    except Exception as error:
        await raw.answer_error(send, error)


@pytest.mark.parametrize("app", [application([_routed], TokenSet({})), _bare], ids=["routed", "bare"])
async def test_one_who_leaves_while_it_sends_its_request_is_no_error(
    running: Any, caplog: pytest.LogCaptureFixture, app: Any
) -> None:
    with capture_logs() as logs:
        async with running(app) as (url, _):
            host, port = url.removeprefix("http://").split(":")
            for abort in (True, False):
                told = len(logs)
                _, writer = await asyncio.open_connection(host, int(port))
                head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
                writer.write(head + b'{"epoch":')
                await writer.drain()
                writer.transport.abort() if abort else writer.close()
                async with asyncio.timeout(SOON_S):
                    while len(logs) == told:  # noqa: ASYNC110 -- it happens in the server, which has no event for it
                        await asyncio.sleep(0.01)
    assert [(line["event"], line["log_level"]) for line in logs] == [("caller_gone", "debug")] * 2
    assert caplog.records == []


async def test_a_body_that_is_read_twice_is_a_defect_of_ours_and_nobody_has_left(running: Any) -> None:
    with capture_logs() as logs:
        async with running(application([_read_twice], TokenSet({}))) as (url, _), httpx2.AsyncClient() as client:
            answer = await client.post(f"{url}/twice", content=b"{}", timeout=SOON_S)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert [(line["event"], line["log_level"]) for line in logs] == [("request_failed", "error")]


async def _half(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


async def test_an_answer_that_breaks_off_because_of_us_is_an_error_in_the_log(
    running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(_half) as (url, _), httpx2.AsyncClient() as client:
        with pytest.raises(httpx2.TransportError):
            await client.get(url, timeout=SOON_S)
    assert [record.getMessage() for record in caplog.records] == ["ASGI callable returned without completing response."]
