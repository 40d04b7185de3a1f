"""Where a benchmark keeps its bytes: in memory when they fit, else on disk; gone afterwards, however it ends."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lab.errors import LabError

MEMORY = Path("/dev/shm")
SPARE_BYTES = 3 << 30
"""Left to the programs themselves, and to everybody else."""
SWEEP_S_MAX = 120
WARM_BLOCK_BYTES = 4 << 20


@contextlib.contextmanager
def place(needed_bytes: int, chosen: Path | None = None) -> Iterator[Path]:
    """A new directory in which ``needed_bytes`` fit: below ``chosen``, else in memory, else in the temporary directory.

    Raises:
        LabError: they do not fit.
    """
    parents = [chosen] if chosen is not None else [MEMORY, Path(tempfile.gettempdir())]
    parent = next((parent for parent in parents if needed_bytes + SPARE_BYTES <= _room_bytes(parent)), None)
    if parent is None:
        rooms = ", ".join(f"{_room_bytes(parent) >> 30} free in {parent}" for parent in parents)
        needed = f"this needs {(needed_bytes + SPARE_BYTES) >> 30} GiB"
        raise LabError(f"{needed}, {rooms}: choose a smaller --size or another --directory")
    directory = parent.resolve() / f"fleetcast-bench-{secrets.token_hex(4)}"
    with _swept(directory):
        directory.mkdir(mode=0o700)
        yield directory


def warm(directory: Path, size_bytes: int) -> None:
    """Have the memory for so much at hand, where the files below ``directory`` are in memory: write it and give it back.

    A virtual machine's host takes unused memory away within seconds, and has to find it again page by page: up to 1.5 CPU
    seconds a GiB, at random, of whoever happens to be the first to write. So this comes right before the start signal.
    """
    if directory.resolve().is_relative_to(MEMORY):
        _touch(directory, size_bytes)


def warm_cache(directory: Path, size_bytes: int) -> None:
    """The same where the files are on disk, for the memory that they pass through: for at most half of what there is."""
    _touch(directory, min(size_bytes, _memory_bytes() // 2))


def _touch(directory: Path, size_bytes: int) -> None:
    file, block = directory / "warm", memoryview(bytes(WARM_BLOCK_BYTES))
    try:
        with open(file, "wb", buffering=0) as out:
            left = size_bytes
            while left:
                left -= out.write(block[: min(left, len(block))])
    finally:
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def _swept(directory: Path) -> Iterator[None]:
    """A process removes the directory when we are gone, also where we are killed: it hears of it by a pipe."""
    reader, writer = os.pipe()
    program = [sys.executable, "-m", "fleetcast.launch.sweeper", str(directory), str(reader)]
    try:
        sweeper = subprocess.Popen(program, cwd="/", stdin=subprocess.DEVNULL, pass_fds=[reader], start_new_session=True)
    finally:
        os.close(reader)
    try:
        yield
    finally:
        os.close(writer)
        sweeper.wait(SWEEP_S_MAX)


def _room_bytes(parent: Path) -> int:
    """How many bytes can be written below ``parent``. What is in memory takes memory."""
    free = shutil.disk_usage(parent).free if parent.is_dir() else 0
    return min(free, _memory_bytes()) if parent.resolve().is_relative_to(MEMORY) else free


def _memory_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
