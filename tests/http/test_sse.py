"""Streams of server-sent events over a real socket: woken, kept alive, ended, bounded, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx2
import pytest
from litestar import Request, get
from structlog.testing import capture_logs

from fleetcast.http.application import application
from fleetcast.http.holding import Bell, Bells
from fleetcast.http.messages import END
from fleetcast.http.session import Session
from fleetcast.http.sse import EventStream, Message, Pace, Streams, wants_stream
from fleetcast.http.tokens import TokenSet
from fleetcast.model.errors import Incompatible, NotFound, Unavailable

FAR_S = 600.0
SOON_S = 10.0
QUIET = Pace(look_interval_s=FAR_S, look_s_min=0, keep_alive_s=FAR_S)


class Board:
    """Lines that somebody writes, and a stream of them for each reader."""

    more = False

    def __init__(self) -> None:
        self.bell, self.lines, self.told, self.broken = Bell(), list[str](), 0, False

    def write(self, line: str) -> None:
        self.lines.append(line)
        self.bell.ring()

    async def look(self) -> Sequence[Message]:
        if self.broken:
            raise NotFound("no_board", "the board is gone")
        new = self.lines[self.told :]
        self.told = len(self.lines)
        return [Message(line, str(number), END if line == "bye" else "") for number, line in enumerate(new, 1)]


def _app(board: Board, streams: Streams) -> Any:
    @get("/board")
    async def read(request: Request[Any, Any, Any]) -> list[str] | EventStream:
        return streams.of(board, board.bell) if wants_stream(request) else board.lines

    return application([read], TokenSet({}))


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not true():  # noqa: ASYNC110 -- it happens in the server, which has no event for it
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def _reader(url: str) -> AsyncIterator[httpx2.Response]:
    client = httpx2.AsyncClient(base_url=url, timeout=SOON_S)
    async with client, client.stream("GET", "/board", headers={"accept": "text/event-stream"}) as response:
        yield response


async def test_a_ring_brings_what_is_new_and_an_end_ends(running: Any) -> None:
    board = Board()
    async with running(_app(board, Streams(pace=QUIET))) as (url, _):
        session, told = Session(url), list[tuple[str, str]]()
        async with session.stream("/board", params={}) as events:
            board.write("one")
            async for event in events:
                told.append((event.event, event.data))
                if event.data == "one":
                    board.write("two\r\nlines")
                elif event.event == "message":
                    board.write("bye")
        await session.aclose()
    assert told == [("message", "one"), ("message", "two\nlines"), (END, "bye")]


async def test_without_asking_for_events_the_route_answers_json(running: Any) -> None:
    board = Board()
    board.lines.append("one")
    async with running(_app(board, Streams())) as (url, _), httpx2.AsyncClient(base_url=url) as http:
        for accept in ("*/*", "application/json", "application/json, text/event-stream", "text/html", ";;q=x", "a/b;q=inf"):
            answer = await http.get("/board", headers={"accept": accept})
            assert (answer.status_code, answer.json()) == (200, ["one"]), accept
        session = Session(url)
        with pytest.raises(NotFound):
            async with session.stream("/elsewhere", params={}):
                pass
        await session.aclose()


async def test_a_server_that_knows_no_streams_is_said_to_be_old(running: Any) -> None:
    @get("/board")
    async def read() -> list[str]:
        return []

    async with running(application([read], TokenSet({}))) as (url, _):
        session = Session(url)
        with pytest.raises(Incompatible, match="upgrade"):
            async with session.stream("/board", params={}):
                pass
        await session.aclose()


async def test_what_changes_unheard_is_found_and_silence_is_filled(running: Any) -> None:
    board, pace = Board(), Pace(look_interval_s=0.02, look_s_min=0, keep_alive_s=0.05)
    async with running(_app(board, Streams(pace=pace))) as (url, _), _reader(url) as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store"
        pieces = response.aiter_text()
        for _ in range(3):
            assert set((await anext(pieces)).split("\n\n")) == {": keep-alive", ""}
        board.lines.append("by another process")
        async with asyncio.timeout(SOON_S):
            while "data: by another process" not in await anext(pieces):
                pass


async def test_a_reader_who_leaves_leaves_nothing(running: Any) -> None:
    board, streams = Board(), Streams(pace=QUIET)
    async with running(_app(board, streams)) as (url, _):
        await asyncio.sleep(0)
        before = asyncio.all_tasks()
        for _ in range(5):
            async with _reader(url) as response:
                assert response.status_code == 200
                assert streams.open == 1
            await _until(lambda: streams.open == 0)
        await _until(lambda: asyncio.all_tasks() <= before)


async def test_at_most_so_many_and_one_who_left_makes_room(running: Any) -> None:
    board, streams = Board(), Streams(at_most=2, pace=QUIET)
    async with running(_app(board, streams)) as (url, _):
        async with _reader(url), _reader(url), _reader(url) as refused:
            problem = await refused.aread()
            assert refused.status_code == 503
            assert refused.headers["content-type"] == "application/problem+json"
            assert int(refused.headers["retry-after"]) > 0
            assert b"too_many_streams" in problem
        await _until(lambda: streams.open == 0)
        async with _reader(url) as admitted:
            assert admitted.status_code == 200


async def test_a_stop_ends_every_stream_cleanly(running: Any) -> None:
    board, streams = Board(), Streams(pace=QUIET)
    async with running(_app(board, streams)) as (url, stop):
        async with contextlib.AsyncExitStack() as opened:
            readers = [await opened.enter_async_context(_reader(url)) for _ in range(3)]
            stop.set()
            board.bell.close()
            for reader in readers:  # to its end: a cut connection would raise
                assert await asyncio.wait_for(reader.aread(), SOON_S) == b": keep-alive\n\n"
        assert streams.open == 0


async def test_what_fails_at_once_is_a_problem_and_later_ends_the_stream(running: Any) -> None:
    board, streams = Board(), Streams(pace=QUIET)
    async with running(_app(board, streams)) as (url, _):
        async with _reader(url) as response:
            board.broken = True
            board.bell.ring()
            assert await response.aread() == b": keep-alive\n\n"
        async with _reader(url) as response:
            assert response.status_code == 404
        assert streams.open == 0


async def test_a_reader_who_takes_nothing_is_left_and_nobody_complains(running: Any, caplog: pytest.LogCaptureFixture) -> None:
    board, pace = Board(), Pace(look_interval_s=0.01, look_s_min=0, keep_alive_s=FAR_S, send_s_max=0.2)
    streams = Streams(pace=pace)
    with capture_logs() as logs:
        await _stuck(running, board, streams)
    assert [(line["event"], line["log_level"]) for line in logs] == [("stream_reader_stuck", "info")]
    assert caplog.records == []


async def _stuck(running: Any, board: Board, streams: Streams) -> None:
    """Until a reader who takes nothing has been left."""
    async with running(_app(board, streams)) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(b"GET /board HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n")
        assert b"200" in await reader.readline()
        async with asyncio.timeout(SOON_S):
            while streams.open:
                board.write("x" * 1_000_000)
                await asyncio.sleep(0.01)
        writer.transport.abort()
        assert board.told > 1


async def test_a_stream_that_breaks_off_is_unavailable() -> None:
    async def half(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head + b"f\r\nid: 1\ndata: a\n\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    session = Session(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    told: list[tuple[str, str]] = []

    async def read() -> None:
        async with session.stream("/", params={}) as events:
            async for event in events:
                told.append((event.id, event.data))

    with pytest.raises(Unavailable, match="broke off"):
        await read()
    assert told == [("1", "a")]
    await session.aclose()
    server.close()
    await server.wait_closed()


async def test_a_bell_of_many_is_one_for_all_who_wait_and_goes_with_them() -> None:
    bells: Bells[int] = Bells()
    first, again, other = bells.of(1), bells.of(1), bells.of(2)
    assert first is again
    ring, elsewhere = first.next(), other.next()
    bells.ring(1)
    bells.ring(3)
    assert (ring.is_set(), elsewhere.is_set()) == (True, False)
    bells.close()
    assert (other.closed, bells.of(4).closed) == (True, True)
