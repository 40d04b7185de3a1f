"""The file that rivals send: incompressible, made from a seed."""

from __future__ import annotations

import random
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def make(path: Path, size_bytes: int, seed: int = 0) -> None:
    rng = random.Random(seed)
    left = size_bytes
    with open(path, "wb") as file:
        while left:
            left -= file.write(rng.randbytes(min(left, _BLOCK_BYTES)))
