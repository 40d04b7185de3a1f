"""Server-sent events: answers that stay open and tell what is new, in a bounded number of them.

A stream looks at once, at every ring of a bell, and every so often for what rings in another process. It ends when there is
nothing more to say, when its process stops (the reader resumes elsewhere, by ``Last-Event-ID``) and when its reader leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from litestar import Request, Response
from litestar.types import Receive, Scope, Send

from fleetcast.http import messages
from fleetcast.http.holding import Bell
from fleetcast.http.messages import END, EVENT_STREAM
from fleetcast.http.serving import cut_short
from fleetcast.model.errors import FleetcastError, Unavailable
from fleetcast.model.limits import (
    STREAM_KEEP_ALIVE_S,
    STREAM_LOOK_INTERVAL_S,
    STREAM_LOOK_S_MIN,
    STREAM_SEND_S_MAX,
    STREAMS_MAX,
)

log = structlog.get_logger(__name__)

_KEEP_ALIVE: Final = b": keep-alive\n\n"
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_HEADERS: Final = [
    (b"content-type", EVENT_STREAM.encode()),
    (b"cache-control", b"no-store"),
    # A buffering proxy would keep the news to itself.
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True, slots=True)
class Message:
    """One event. A carriage return in ``data`` arrives as a line feed: the format knows no other."""

    data: str
    id: str
    event: str = ""

    def frame(self) -> bytes:
        lines = [f"event: {self.event}"] if self.event else []
        lines += [f"id: {self.id}", *(f"data: {line}" for line in _LINE_END.split(self.data))]
        return ("\n".join(lines) + "\n\n").encode()


class Source(Protocol):
    """What one stream tells. Knows how far its reader is."""

    more: bool
    """Whether the last look left something to be told at once."""

    async def look(self) -> Sequence[Message]:
        """What is new since the last look; a message named ``END`` is the last one."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds."""

    look_interval_s: float = STREAM_LOOK_INTERVAL_S
    look_s_min: float = STREAM_LOOK_S_MIN
    keep_alive_s: float = STREAM_KEEP_ALIVE_S
    send_s_max: float = STREAM_SEND_S_MAX


class Streams:
    """Those of one process. ``open``: how many there are now, never more than ``at_most``."""

    def __init__(self, at_most: int = STREAMS_MAX, pace: Pace = Pace()) -> None:
        self.open = 0
        self.pace = pace
        self._at_most = at_most

    def of(self, source: Source, bell: Bell) -> EventStream:
        """The answer of a handler: a stream of ``source``, woken by ``bell``, until that is closed."""
        return EventStream(self, source, bell)

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Raises :class:`Unavailable` when there are enough."""
        if self.open >= self._at_most:
            raise Unavailable("too_many_streams", f"{self.open} streams are open here already: close some, or try again later")
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


def wants_stream(request: Request[Any, Any, Any]) -> bool:
    """Whether the caller prefers events to the JSON that the same route answers."""
    try:
        return request.accept.best_match([messages.JSON, EVENT_STREAM]) == EVENT_STREAM
    except OverflowError:  # a quality of infinity
        return False


class EventStream(Response[bytes]):
    """Look first, then answer: what the first look raises is a problem like any other."""

    def __init__(self, streams: Streams, source: Source, bell: Bell) -> None:
        super().__init__(b"", media_type=EVENT_STREAM)
        self._streams, self._source, self._bell = streams, source, bell

    def to_asgi_response(self, *_args: Any, **_options: Any) -> Any:
        return self._answer

    async def _answer(self, _scope: Scope, receive: Receive, send: Send) -> None:
        with self._streams.one():
            async with contextlib.aclosing(_frames(self._source, self._bell, self._streams.pace)) as frames:
                first = await anext(frames)
                pump = asyncio.create_task(_pump(first, frames, send, self._streams.pace.send_s_max))
                gone = asyncio.create_task(_gone(receive))
                try:
                    await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
                    if pump.done() and not pump.result():
                        cut_short()
                finally:
                    pump.cancel()
                    gone.cancel()
                    await asyncio.gather(pump, gone, return_exceptions=True)


async def _frames(source: Source, bell: Bell, pace: Pace) -> AsyncGenerator[bytes, None]:
    """What goes over the wire: never nothing for longer than ``keep_alive_s``, and something at once."""
    clock = asyncio.get_running_loop().time
    said_at = clock() - pace.keep_alive_s
    while True:
        ring, looked_at = bell.next(), clock()
        news = await source.look()
        if news:
            yield b"".join(message.frame() for message in news)
        elif clock() - said_at >= pace.keep_alive_s:
            yield _KEEP_ALIVE
        if bell.closed or (news and news[-1].event == END):
            return
        if news or clock() - said_at >= pace.keep_alive_s:
            said_at = clock()
        if source.more:
            continue
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(pace.look_interval_s, said_at + pace.keep_alive_s - clock())):
                await ring.wait()
        if not bell.closed:
            await asyncio.sleep(looked_at + pace.look_s_min - clock())


async def _pump(first: bytes, frames: AsyncGenerator[bytes, None], send: Send, send_s_max: float) -> bool:
    """Whether the answer has an end; it has none where nobody takes it."""

    async def say(frame: bytes) -> None:
        async with asyncio.timeout(send_s_max):
            await send({"type": "http.response.body", "body": frame, "more_body": True})

    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    try:
        await say(first)
        async for frame in frames:
            await say(frame)
    except TimeoutError:
        log.info("stream_reader_stuck", send_s_max=send_s_max)
        return False
    except FleetcastError as error:
        # It is too late for a problem: the stream ends, and its reader is told what is wrong when it resumes.
        log.warning("stream_ended", error=error.message)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return True


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
