"""The files of one tree as one range of bytes, for many threads at once.

Reading, writing and sending take offsets in the artifact's content; which files that touches is :class:`Extents`' affair.
Bytes move between descriptors and the caller's buffers by ``pread``, ``pwrite`` and ``sendfile``; nothing is copied here.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import threading
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Final

from fleetcast.artifacts.entries import shown
from fleetcast.artifacts.extents import Extents
from fleetcast.model.errors import Corrupt

DESCRIPTORS_KEPT: Final = 32
"""Files of one tree kept open between calls. Calls under way may hold one more each."""


class _Open:
    """An open file and how many calls are using it."""

    __slots__ = ("descriptor", "users")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.users = 0


class TreeFiles:
    """Random access to a laid-out tree. Every method may be called from any thread; calls on equal ranges do not wait."""

    def __init__(self, extents: Extents, tree: Path, *, writable: bool = False) -> None:
        """Holds ``tree``'s directory itself: renaming any directory above changes nothing.

        Raises:
            OSError: ``tree`` is not a directory.
        """
        self.extents = extents
        self._flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        self._root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._files: OrderedDict[int, _Open] = OrderedDict()
        self._closed = False

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with the content from ``offset`` on.

        Raises:
            Corrupt: a file is missing, no plain file, or does not have its size.
        """
        start = 0
        for file, within, length in self.extents.locate(offset, len(buffer)):
            used = self._use(file)
            try:
                end = start + length
                while start < end:
                    count = os.preadv(used.descriptor, [buffer[start:end]], within)
                    if count == 0:
                        raise self._broken(file, "is shorter than it should be")
                    start += count
                    within += count
            finally:
                self._leave(used)

    def write(self, offset: int, data: memoryview) -> None:
        """Put ``data`` into its place from ``offset`` on; not durable before the tree is sealed.

        Raises:
            Corrupt: as for reading.
            OSError: the disk refused.
        """
        start = 0
        for file, within, length in self.extents.locate(offset, len(data)):
            used = self._use(file)
            try:
                end = start + length
                while start < end:
                    count = os.pwrite(used.descriptor, data[start:end], within)
                    start += count
                    within += count
            finally:
                self._leave(used)

    def sendfile(self, sock: socket.socket, offset: int, length: int) -> None:
        """Send ``length`` bytes of content from ``offset`` on; the socket's timeout bounds each stretch without progress.

        Raises:
            Corrupt: as for reading.
            OSError: the connection broke; :class:`TimeoutError` when it took nothing for too long.
        """
        for file, within, count in self.extents.locate(offset, length):
            used = self._use(file)
            try:
                end = within + count
                while within < end:
                    try:
                        sent = os.sendfile(sock.fileno(), used.descriptor, within, end - within)
                    except BlockingIOError:
                        _wait_writable(sock)
                        continue
                    if sent == 0:
                        raise self._broken(file, "is shorter than it should be")
                    within += sent
            finally:
                self._leave(used)

    def close(self) -> None:
        """Let go of all files. Calls under way finish; later ones raise :class:`ValueError`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._drop_idle(keep=0)
            os.close(self._root)

    def __enter__(self) -> TreeFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _use(self, index: int) -> _Open:
        """To be followed by :meth:`_leave`. No context manager: this is the inner loop of every transfer."""
        with self._lock:
            if self._closed:
                raise ValueError("these files are closed")
            file = self._files.get(index)
            if file is None:
                file = self._files[index] = _Open(self._open(index))
            self._files.move_to_end(index)
            file.users += 1
            return file

    def _leave(self, file: _Open) -> None:
        with self._lock:
            file.users -= 1
            self._drop_idle(keep=0 if self._closed else DESCRIPTORS_KEPT)

    def _open(self, index: int) -> int:
        file = self.extents.files[index]
        try:
            descriptor = os.open(file.path, self._flags, dir_fd=self._root)
        except OSError as error:
            raise self._broken(index, f"cannot be opened ({error.strerror})") from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
            os.close(descriptor)
            raise self._broken(index, f"is not a file of {file.size} bytes")
        return descriptor

    def _drop_idle(self, keep: int) -> None:
        """Close the least recently used files beyond ``keep`` that nobody is using. Under the lock."""
        if len(self._files) <= keep:
            return
        for index, file in list(self._files.items()):
            if file.users == 0:
                os.close(file.descriptor)
                del self._files[index]
                if len(self._files) <= keep:
                    return

    def _broken(self, index: int, reason: str) -> Corrupt:
        path = shown(self.extents.files[index].path)
        return Corrupt("broken_tree", f"{path} of this release {reason}: fetch the release again")


def _wait_writable(sock: socket.socket) -> None:
    """A socket with a timeout never blocks in the kernel: wait here as long as it allows.

    One without a timeout only says "would block" when SO_SNDTIMEO is set and has run out.
    """
    timeout_s = sock.gettimeout()
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    if timeout_s is None or not poll.poll(timeout_s * 1000):
        raise TimeoutError("the connection took nothing for as long as it may")
