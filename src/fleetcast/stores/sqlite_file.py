"""A SQLite file set up the way every store here wants it: write-ahead log, every commit on disk when it returns."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from fleetcast.model.errors import Unavailable
from fleetcast.model.limits import SQLITE_BUSY_S_MAX

_RETRY_INTERVAL_S = 0.02


def connect(path: Path) -> sqlite3.Connection:
    """Open ``path``, creating it, in WAL mode with explicit transactions; usable from any one thread at a time.

    Blocks; raises :class:`Unavailable` when the file cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=SQLITE_BUSY_S_MAX, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise Unavailable("database_unusable", f"cannot open {path}: {error}: check the path and its permissions") from error
    try:
        _enter_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    except sqlite3.Error as error:
        connection.close()
        raise Unavailable("database_unusable", f"cannot use {path}: {error}: is it a SQLite file on a local disk?") from error
    return connection


def is_busy(error: BaseException | None) -> bool:
    """Whether ``error`` says that another process kept its lock for longer than we wait."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def obstacle(error: BaseException | None, *, writing: bool = True) -> Unavailable | None:
    """What is in the way of the file itself; ``None``: ``error`` is about what was asked of it.

    Not ``writing``: the connection is for reading, so that being refused a write is its caller's fault.
    """
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return Unavailable("no_room", "the database cannot be written, its disk is full: make room there")
        case sqlite3.SQLITE_READONLY if not writing:
            return None
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_CORRUPT:
            return Unavailable("database_unusable", f"the database cannot be used ({error}): look after its disk and its file")
        case _:
            return None


def _enter_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait by itself here: of two processes that open a new file at once, one is told it is busy."""
    deadline = time.monotonic() + SQLITE_BUSY_S_MAX
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_INTERVAL_S)
