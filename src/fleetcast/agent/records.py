"""Small durable files: one value each, replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

T = TypeVar("T")

log = structlog.get_logger(__name__)


def write(path: Path, value: object, *, durable: bool = True) -> None:
    """Replace ``path`` by ``value`` as JSON. A reader sees the old value or the new one, whenever the writer dies.

    With ``durable`` that holds for power failures too. One writer at a time: the name of the next file is fixed, so that
    writers that were killed leave one file behind at most.
    """
    write_bytes(path, msgspec.json.encode(value), durable=durable)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """As :func:`write`, of bytes as they are."""
    following = path.with_name(f".{path.name}.next")
    with open(following, "wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    following.replace(path)
    if durable:
        sync_directory(path.parent)


def read(path: Path, into: type[T]) -> T | None:
    """The value in ``path``; ``None`` when there is none, or none that can be read (which is logged)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=into)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        log.error("record_unreadable", path=str(path), error=str(error))
        return None


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
