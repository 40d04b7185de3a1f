"""A bucket's directory, as its data port serves it: ``sendfile`` out (law 10)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fleetcast.stores.blob_files import BlobFiles
from fleetcast.stores.served import Served, ServedBlob
from fleetcast.stores.upload_files import UploadFiles


class ServedDirectory(Served):
    def __init__(self, root: Path) -> None:
        self._files = BlobFiles(root)
        self._uploads = UploadFiles(self._files)

    @contextmanager
    def open(self, key: str, *, look: bool) -> Iterator[ServedBlob]:  # noqa: ARG002 -- one always looks
        with self._files.open(key) as file:
            yield _File(file)

    def check_upload(self, upload: str) -> None:
        self._uploads.head(upload)

    def write_part(self, upload: str, number: int, data: memoryview) -> str:
        return self._uploads.write_part(upload, number, data).etag


class _File(ServedBlob):
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    @property
    def size(self) -> int:
        return self._size

    @contextmanager
    def sending(self, connection: socket.socket, offset: int, length: int) -> Iterator[Callable[[int], bool]]:
        at, end = offset, offset + length

        def send(size: int) -> bool:
            nonlocal at
            at += size
            assert at <= end, "more than was opened"
            return connection.sendfile(self._file, at - size, size) == size

        yield send
