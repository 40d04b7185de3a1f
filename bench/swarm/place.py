"""Where a benchmark keeps its bytes: in memory when they fit, else on disk; gone afterwards."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fleetcast.launch import sweeper

MEMORY = Path("/dev/shm")
SPARE_BYTES = 3 << 30
"""Left to the programs themselves, and to everybody else."""


@contextlib.contextmanager
def place(needed_bytes: int, chosen: Path | None = None) -> Iterator[Path]:
    """A new directory in which ``needed_bytes`` fit: below ``chosen``, else in memory, else in the temporary directory.

    Raises:
        NoRoom: they do not fit.
    """
    parents = [chosen] if chosen is not None else [MEMORY, Path(tempfile.gettempdir())]
    parent = next((parent for parent in parents if needed_bytes + SPARE_BYTES <= room_bytes(parent)), None)
    if parent is None:
        rooms = ", ".join(f"{parent} has {room_bytes(parent) >> 30}" for parent in parents)
        raise NoRoom(
            f"this needs {(needed_bytes + SPARE_BYTES) >> 30} GiB, {rooms}: choose a smaller --size or another --directory"
        )
    directory = parent.resolve() / f"fleetcast-bench-{secrets.token_hex(4)}"
    directory.mkdir(mode=0o700)
    try:
        yield directory
    finally:
        sweeper.remove(directory)


def room_bytes(parent: Path) -> int:
    """How many bytes can be written below ``parent``. What is in memory takes memory."""
    free = shutil.disk_usage(parent).free if parent.is_dir() else 0
    return min(free, _memory_bytes()) if parent.is_relative_to(MEMORY) else free


def _memory_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


class NoRoom(Exception):
    """Nowhere to put it; one line for people."""
