"""One attempt's log: kept in a file as it is written, sent to control piece by piece as it takes them.

The command never waits for control. Offsets count bytes of UTF-8 text, so undecodable bytes are replaced before they are
counted; what goes beyond ``BUILD_LOG_BYTES_MAX`` is dropped, and the log says so.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fleetcast.model.limits import BUILD_LOG_BYTES_MAX, BUILD_LOG_PIECE_BYTES_MAX, BUILD_LOG_SEND_INTERVAL_S

CUT_NOTICE: Final = b"\n==> the log is too long: the rest is not kept\n"

Send = Callable[[int, str], Awaitable[None]]
"""Takes a piece of text and the offset of its first byte."""


class AttemptLog:
    """Written to by one event loop and sent from it."""

    def __init__(self, path: Path, *, bytes_max: int = BUILD_LOG_BYTES_MAX) -> None:
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115 -- closed by close()
        self._bytes_max = bytes_max - len(CUT_NOTICE)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._size = 0
        self._sent = 0
        self._cut = False
        self._news = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._draining = asyncio.Event()

    def write(self, data: bytes) -> None:
        """Add what a program wrote."""
        self._append(self._decoder.decode(data).encode())

    def line(self, text: str) -> None:
        """Add a line of our own."""
        self._append(f"==> {text}\n".encode())

    async def pump(self, send: Send) -> None:
        """Send what is there, wait for more, until cancelled. Errors of ``send`` pass."""
        while True:
            while self._sent < self._size:
                piece = self._next_piece()
                await send(self._sent, piece.decode())
                self._sent += len(piece)
            self._news.clear()
            self._all_sent.set()
            await self._news.wait()
            # Let some gather, unless somebody is waiting for the end.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._draining.wait(), BUILD_LOG_SEND_INTERVAL_S)

    async def drain(self) -> None:
        """Wait until everything written so far was sent. Needs :meth:`pump` to run; bound it from outside."""
        self._draining.set()
        await self._all_sent.wait()

    def close(self) -> None:
        self._file.close()

    def _append(self, text: bytes) -> None:
        room = self._bytes_max - self._size
        if self._cut or not text:
            return
        if len(text) > room:
            self._cut = True
            text = _whole_characters(text[:room]) + CUT_NOTICE
        self._file.seek(0, os.SEEK_END)
        self._file.write(text)
        self._size += len(text)
        self._all_sent.clear()
        self._news.set()

    def _next_piece(self) -> bytes:
        return _whole_characters(os.pread(self._file.fileno(), BUILD_LOG_PIECE_BYTES_MAX, self._sent))


def _whole_characters(text: bytes) -> bytes:
    """UTF-8 without the character that its end cuts in two, if it does."""
    return text.decode("utf-8", "ignore").encode()
