"""Small disks under directories of an installation: memory that is mounted there, made narrow and wide while it is used."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

MIB = 1 << 20
WIDE_MIB = 192
"""Room that nobody here needs. It is memory only as far as it is used."""
SHRINKS_MAX = 100


def mount(*arguments: str) -> None:
    """Fails the test, in a sentence, where that is not allowed."""
    done = _mounted(*arguments)
    if done.returncode:
        pytest.fail(f"these tests mount small disks, which takes root and the right to mount: {done.stderr.strip()}")


def _mounted(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


def unmount(directory: Path) -> None:
    """Also when somebody still uses it."""
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


class Disk:
    """One directory's own file system."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._size_bytes = WIDE_MIB * MIB

    @property
    def used_bytes(self) -> int:
        found = os.statvfs(self.directory)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    @contextmanager
    def full(self, room_bytes: int = 0) -> Iterator[None]:
        """Meanwhile there is no more room than this."""
        self.fill(room_bytes)
        try:
            yield
        finally:
            self.widen()

    def fill(self, room_bytes: int = 0) -> None:
        """Leave no more room than this. A test calls it again and again where others delete files meanwhile."""
        for _ in range(SHRINKS_MAX):
            # What is written between the look and the mount makes it too narrow a place to shrink to.
            size_bytes = self.used_bytes + room_bytes
            if size_bytes >= self._size_bytes or _mounted(*self._remount(size_bytes)).returncode == 0:
                self._size_bytes = min(size_bytes, self._size_bytes)
                return
        mount(*self._remount(self.used_bytes + room_bytes))

    def widen(self) -> None:
        """There is room again."""
        self._size_bytes = WIDE_MIB * MIB
        mount(*self._remount(self._size_bytes))

    def _remount(self, size_bytes: int) -> tuple[str, str, str]:
        return "-o", f"remount,size={size_bytes}", str(self.directory)


@contextmanager
def disks(*directories: Path) -> Iterator[dict[str, Disk]]:
    """A wide one at each of these, by the directory's name; unmounted at the end, however it comes."""
    with ExitStack() as mounted:
        for directory in directories:
            directory.mkdir(parents=True, exist_ok=True)
            mount("-t", "tmpfs", "-o", f"size={WIDE_MIB}m,mode=700", "tmpfs", str(directory))
            mounted.callback(unmount, directory)
        yield {directory.name: Disk(directory) for directory in directories}


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """The directory, as a disk that may only be read."""
    mount("--bind", str(directory), str(directory))
    try:
        mount("-o", "remount,bind,ro", str(directory))
        yield
    finally:
        unmount(directory)
