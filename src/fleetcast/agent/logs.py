"""Bounding a log that a process writes into directly."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def bound_log(path: Path, bytes_max: int) -> None:
    """Once a log is larger than ``bytes_max``, copy it to ``<name>.1`` and begin it anew.

    The process has it open for appending, so it goes on at the new end; what it writes between the copy and the cut is lost.
    """
    try:
        if path.stat().st_size <= bytes_max:
            return
    except FileNotFoundError:
        return
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)
