"""Small durable files: one value each, replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from fleetcast.model.errors import Refused

T = TypeVar("T")

log = structlog.get_logger(__name__)

_NEXT: Final = ".next"


def write(path: Path, value: object, *, durable: bool = True) -> None:
    """Replace ``path`` by ``value`` as JSON. A reader sees the old value or the new one, whenever the writer dies.

    With ``durable`` that holds for power failures too. One writer at a time: the name of the next file is fixed, so that
    writers that were killed leave one file behind at most.
    """
    write_bytes(path, msgspec.json.encode(value), durable=durable)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """As :func:`write`, of bytes as they are."""
    following = path.with_name(f".{path.name}{_NEXT}")
    with open(following, "wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    following.replace(path)
    if durable:
        sync_directory(path.parent)


def is_temporary(path: Path) -> bool:
    """Whether a writer that was killed left this."""
    return path.name.startswith(".") and path.name.endswith(_NEXT)


def read(path: Path, into: type[T]) -> T | None:
    """The value in ``path``; ``None`` when there is none.

    Raises:
        Refused: there is one that cannot be read. To go on without it would be to forget what it protects.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=into)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        advice = "bring it back from a backup, or move it away to begin without what it knew"
        raise Refused("record_unreadable", f"{path} cannot be read ({error}): {advice}") from error


def read_if_whole(path: Path, into: type[T]) -> T | None:
    """As :func:`read`, for a value that was not written durably: one that cannot be read is as good as none, and is logged."""
    try:
        return read(path, into)
    except Refused as error:
        log.warning("record_passed_over", error=error.message)
        return None


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
