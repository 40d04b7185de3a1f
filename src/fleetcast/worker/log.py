"""One attempt's log: kept in a file as it is written, sent to control piece by piece as it takes them.

The command never waits for control. Offsets count bytes of UTF-8 text, so undecodable bytes are replaced before they are
counted; of what goes beyond ``BUILD_LOG_BYTES_MAX`` the end is kept, being what says how it ended, and the log says so.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fleetcast.model.limits import (
    BUILD_LOG_BYTES_MAX,
    BUILD_LOG_PIECE_BYTES_MAX,
    BUILD_LOG_SEND_INTERVAL_S,
    BUILD_LOG_TAIL_BYTES,
    KIB,
)

CUT_NOTICE: Final = b"\n==> the log is too long: only its end is kept from here on\n"
OWN_LINES_BYTES: Final = 4 * KIB
"""Room for what we say ourselves at the end."""

Send = Callable[[int, str], Awaitable[None]]
"""Takes a piece of text and the offset of its first byte."""


class AttemptLog:
    """Written to by one event loop and sent from it."""

    def __init__(self, path: Path, *, bytes_max: int = BUILD_LOG_BYTES_MAX) -> None:
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115 -- closed by close()
        self._bytes_max = bytes_max - len(CUT_NOTICE) - BUILD_LOG_TAIL_BYTES - OWN_LINES_BYTES
        self._tail = bytearray()
        """Of what was written behind the cut."""
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
                if not piece:
                    break  # half a character, whose other half had no room
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

    def finish(self) -> None:
        """No program writes any more: add the end of what was too long. Lines of our own may follow."""
        tail, self._tail = bytes(self._tail), bytearray()
        if tail:
            self._add(tail.partition(b"\n")[2] or tail.decode("utf-8", "ignore").encode())
            self._add(b"" if tail.endswith(b"\n") else b"\n")
        self._cut = False
        self._bytes_max = self._size + OWN_LINES_BYTES

    def close(self) -> None:
        self._file.close()

    def _append(self, text: bytes) -> None:
        room = self._bytes_max - self._size
        if self._cut or len(text) > room:
            kept = b"" if self._cut else _whole_characters(text[:room])
            self._tail += text[len(kept) :]
            del self._tail[:-BUILD_LOG_TAIL_BYTES]
            text = kept + CUT_NOTICE if not self._cut else b""
            self._cut = True
        self._add(text)

    def _add(self, text: bytes) -> None:
        """Raises :class:`OSError`: the disk takes no more. What it took before counts, which may end in half a character."""
        while text:
            taken = os.pwrite(self._file.fileno(), text, self._size)
            self._size += taken
            text = text[taken:]
            self._all_sent.clear()
            self._news.set()

    def _next_piece(self) -> bytes:
        return _whole_characters(os.pread(self._file.fileno(), BUILD_LOG_PIECE_BYTES_MAX, self._sent))


def _whole_characters(text: bytes) -> bytes:
    """UTF-8 without the character that its end cuts in two, if it does."""
    return text.decode("utf-8", "ignore").encode()
