"""What a data port serves: blobs of which it sends ranges, and uploads that take parts."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


class ServedBlob(Protocol):
    """One that is open for reading."""

    @property
    def size(self) -> int: ...

    def sending(self, connection: socket.socket, offset: int, length: int) -> AbstractContextManager[Callable[[int], bool]]:
        """A range, one at least, all of it in the blob. What is yielded sends so many of its next bytes; False: the blob ends
        too early, or the reader is gone. What the blob has against being read is raised before anything is sent, if it can.
        """
        ...


class Served(Protocol):
    """Safe to use from many threads. Raises :class:`Unavailable` for a bucket that cannot be used."""

    def open(self, key: str, *, look: bool) -> AbstractContextManager[ServedBlob]:
        """``look``: somebody wants to know whether it is there, now. Raises :class:`NotFound`."""
        ...

    def check_upload(self, upload: str) -> None:
        """Raises :class:`NotFound` for one that is not open."""
        ...

    def write_part(self, upload: str, number: int, data: memoryview) -> str:
        """Returns its ETag. Raises :class:`NotFound`, :class:`Invalid`."""
        ...
