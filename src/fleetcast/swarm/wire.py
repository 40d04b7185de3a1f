"""A connection between two peers: frames of ``codec`` over a blocking socket, bulk bytes past Python.

One thread receives from a wire; any thread may send, frames never mix; any may :meth:`Wire.abort` it, which makes calls under
way fail at once.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from fleetcast.model.errors import Unavailable
from fleetcast.model.limits import (
    SWARM_CONNECT_S_MAX,
    SWARM_PIECE_S_MAX,
    SWARM_STALL_S_MAX,
    SWARM_UNSENT_BYTES_MAX,
)
from fleetcast.swarm import codec
from fleetcast.swarm.codec import Chunk, Frame

_TIMEVAL: Final = struct.Struct("ll")
_DRAIN_S_MAX: Final = 1.0
_AHEAD_BYTES: Final = 1024
_LOOK_S: Final = 0.5
"""How often a receive that waits looks at how far it is."""


class Wire:
    """Takes over ``sock``. Timeouts are the kernel's (SO_RCVTIMEO, SO_SNDTIMEO), so that a wait costs no extra system call."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._patience_s = float(SWARM_CONNECT_S_MAX)
        # What was received of frames that nobody has taken yet: several of them cost one system call.
        self._ahead = memoryview(bytearray(_AHEAD_BYTES))
        self._first = self._last = 0
        self.sending = threading.Lock()
        """Held while a frame, and the bytes that follow it, are sent."""
        self._ending = threading.Lock()
        self._aborted = False
        self._closed = False

    def connect(self, host: str, port: int) -> None:
        """For a wire on a fresh socket. Raises OSError, :class:`Unavailable`; takes at most ``SWARM_CONNECT_S_MAX``."""
        self._sock.settimeout(SWARM_CONNECT_S_MAX)
        self._sock.connect((host, port))
        if self._aborted:
            # Before there was a connection that abort() could have ended.
            raise _gone()
        self.patience(SWARM_CONNECT_S_MAX)

    def patience(self, seconds: float) -> None:
        """How long sending or receiving may go on without a byte of progress."""
        self._patience_s = seconds
        self._sock.setblocking(True)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(min(seconds, _LOOK_S)))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(seconds))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # What the kernel holds for us counts as served: with more of it we would look idle with a full link.
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, SWARM_UNSENT_BYTES_MAX)

    @property
    def socket(self) -> socket.socket:
        """For ``sendfile``."""
        return self._sock

    @property
    def aborted(self) -> bool:
        return self._aborted

    def send(self, *frames: Frame) -> None:
        """Send frames in one go, none of them a Chunk. Raises :class:`Unavailable` as :meth:`send_held`."""
        with self.sending:
            self.send_held(*frames)

    def send_held(self, *frames: Frame) -> None:
        """The same for who holds ``sending``. A Chunk, which must be the last, is held back until its bytes follow.

        Raises:
            Unavailable: the other side is gone, or took nothing for too long.
        """
        more = socket.MSG_MORE if frames and isinstance(frames[-1], Chunk) else 0
        data = memoryview(b"".join([codec.encode(frame) for frame in frames]))
        while data:
            try:
                data = data[self._sock.send(data, more) :]
            except BlockingIOError as error:
                raise _stalled() from error
            except OSError as error:
                raise _gone() from error

    def receive(self, deadline: float | None = None) -> Frame:
        """The next frame; after a Chunk its bytes must be taken with :meth:`receive_into`. ``deadline``: as there.

        Raises:
            Unavailable: the other side is gone, or sent nothing for too long.
            Corrupt: it sent nonsense.
        """
        if self._last - self._first < codec.HEADER_BYTES:
            self._receive_ahead(deadline)
        start, self._first = self._first, self._first + codec.HEADER_BYTES
        decoded = codec.decode_header(self._ahead[start : self._first])
        if not decoded.body_bytes:
            return codec.decode(decoded, b"")
        body = bytearray(decoded.body_bytes)
        self.receive_into(memoryview(body), deadline)
        return codec.decode(decoded, bytes(body))

    def receive_into(
        self, view: memoryview, deadline: float | None = None, progress: Callable[[int], None] | None = None
    ) -> None:
        """Fill ``view`` straight from the socket. Raises :class:`Unavailable`.

        ``deadline`` (monotonic seconds) is when bytes that trickle must all be here; ``None``: in ``SWARM_PIECE_S_MAX`` from
        the first one on. ``progress`` is told how many are here whenever more have come and it takes a while.
        """
        known = min(len(view), self._last - self._first)
        view[:known] = self._ahead[self._first : self._first + known]
        self._first += known
        if known < len(view):
            self._receive(view, known, len(view), socket.MSG_WAITALL, deadline, progress)

    def _receive_ahead(self, deadline: float | None) -> None:
        """A header at least, and what else is here already."""
        known = self._last - self._first
        self._ahead[:known] = self._ahead[self._first : self._last]
        self._first, self._last = 0, self._receive(self._ahead, known, codec.HEADER_BYTES, 0, deadline, None)

    def _receive(
        self,
        view: memoryview,
        got: int,
        enough: int,
        flags: int,
        deadline: float | None,
        progress: Callable[[int], None] | None,
    ) -> int:
        """Into ``view``, of which ``got`` bytes are here, until ``enough`` are; returns how many. See :meth:`receive_into`."""
        got += self._receive_some(view[got:], flags)
        if got >= enough:
            return got
        moved_at = time.monotonic()
        if deadline is None and got:
            deadline = moved_at + SWARM_PIECE_S_MAX
        while got < enough:
            now = time.monotonic()
            if now - moved_at > self._patience_s or (deadline is not None and now > deadline):
                raise _stalled()
            more = self._receive_some(view[got:], flags)
            if more:
                got, moved_at = got + more, now
                deadline = deadline or now + SWARM_PIECE_S_MAX
                if progress is not None:
                    progress(got)
        return got

    def _receive_some(self, view: memoryview, flags: int) -> int:
        """Bytes received: with MSG_WAITALL all that are asked for, unless ``_LOOK_S`` went by, else those that are here."""
        try:
            got = self._sock.recv_into(view, len(view), flags)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _gone() from error
        if not got:
            raise _gone()
        return got

    def drain(self, space: memoryview) -> None:
        """Say that nothing more comes from here and throw away what was still on its way, within bounds; then the other side
        gets to read the last frame sent. Without this the system may cut the connection before.
        """
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            self.patience(_DRAIN_S_MAX)
            deadline = time.monotonic() + _DRAIN_S_MAX
            while time.monotonic() < deadline and self._sock.recv_into(space):
                pass

    def abort(self) -> None:
        """End the connection under the thread that uses it. Callable from any thread, any number of times."""
        with self._ending:
            self._aborted = True
            if not self._closed:
                # Fails when not connected yet, or no more: connect() looks at `aborted` when it is.
                with suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """By the using thread, last."""
        with self._ending:
            self._closed = True
            self._sock.close()


def _timeval(seconds: float) -> bytes:
    return _TIMEVAL.pack(int(seconds), int(seconds % 1 * 1_000_000))


def _stalled() -> Unavailable:
    return Unavailable("peer_stalled", f"the peer moved no byte for {SWARM_STALL_S_MAX} s, or a piece too slowly")


def _gone() -> Unavailable:
    return Unavailable("peer_gone", "the peer closed the connection")
