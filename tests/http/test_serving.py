"""A server stops when told: quickly, and with held requests answered. Also the bare ASGI way in and out."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
import pytest
from litestar import get
from litestar.types import Receive, Scope, Send

from fleetcast.http import messages, raw
from fleetcast.http.application import application
from fleetcast.http.holding import Bell, hold
from fleetcast.http.serving import bind, url_of
from fleetcast.http.session import Session
from fleetcast.http.tokens import Role, TokenSet
from fleetcast.model.errors import Forbidden, Invalid, Refused, Unavailable
from fleetcast.model.generation import Generation
from fleetcast.model.limits import MESSAGE_BYTES_MAX


def test_a_taken_port_is_refused_in_words() -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        assert url_of(sock) == f"http://127.0.0.1:{port}"
        with pytest.raises(Refused, match=str(port)):
            bind("127.0.0.1", port)


def test_a_host_that_is_none_is_refused_in_words() -> None:
    with pytest.raises(Refused, match=r"no\.such\.host\.invalid"):
        bind("no.such.host.invalid", 0)


async def test_stop_answers_held_requests_and_closes_idle_connections(running: Any) -> None:
    bell, asked = Bell(), asyncio.Event()

    async def look() -> None:
        asked.set()

    @get("/held")
    async def held() -> dict[str, str]:
        await hold(bell, look, wait_s=60, poll_s=60)
        return {"state": "stopping"}

    @get("/idle")
    async def idle() -> dict[str, str]:
        return {"state": "here"}

    async with running(application([held, idle], TokenSet({}))) as (url, stop):
        session = Session(url)
        assert await session.ask("GET", "/idle", reply=dict) == {"state": "here"}
        waiting = asyncio.create_task(session.ask("GET", "/held", reply=dict, timeout_s=60))
        await asyncio.wait_for(asked.wait(), 5)
        began = time.monotonic()
        stop.set()
        bell.close()
        assert await asyncio.wait_for(waiting, 5) == {"state": "stopping"}
    assert time.monotonic() - began < 2
    with pytest.raises(Unavailable):
        await session.call("GET", "/idle", reply=str)
    await session.aclose()


async def _raw(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application on the bare functions: answers the next generation to agents."""
    try:
        TokenSet({Role.AGENT: "a", Role.ADMIN: "b"}).authorize(raw.authorization(scope), frozenset({Role.AGENT}))
        generation = messages.decode(await raw.read_body(receive), Generation)
        await raw.answer(send, generation.next())
    except Exception as error:
        await raw.answer_error(send, error)


async def test_a_bare_route_speaks_the_same_language(running: Any) -> None:
    async with running(_raw) as (url, _):
        agent, admin = Session(url, "a"), Session(url, "b")
        assert await agent.ask("POST", "/", Generation(1, 2), reply=Generation) == Generation(1, 3)
        with pytest.raises(Forbidden):
            await admin.ask("POST", "/", Generation(1, 2), reply=Generation)
        with pytest.raises(Invalid, match=r"\$"):
            await agent.ask("POST", "/", {"epoch": "one"}, reply=Generation)
        with pytest.raises(Invalid) as caught:
            await agent.ask("POST", "/", "x" * (MESSAGE_BYTES_MAX + 1), reply=Generation)
        await agent.aclose()
        await admin.aclose()
    assert caught.value.code == "message_too_large"


async def test_a_page_that_is_no_problem_still_names_what_to_do(running: Any) -> None:
    async def gateway(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 502, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"oops", "more_body": False})

    async with running(gateway) as (url, _):
        session = Session(url)
        with pytest.raises(Unavailable, match="502"):
            await session.call("GET", "/", reply=str)
        await session.aclose()


async def test_the_server_says_nothing_about_itself(running: Any) -> None:
    async with running(_raw) as (url, _), httpx2.AsyncClient() as client:
        answer = await client.get(url)
    assert answer.status_code == 401
    assert "server" not in answer.headers
    assert "date" in answer.headers
