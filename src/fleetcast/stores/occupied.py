"""What a directory takes up on its disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_BLOCK_BYTES: Final = 512
"""What ``st_blocks`` counts, whatever blocks the file system has."""


def disk_bytes(directory: Path) -> int:
    """Of everything below it; what goes away meanwhile, or cannot be looked into, does not count. Blocking."""
    total = 0
    waiting = [os.fspath(directory)]
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total
