"""Builds the service into ``dist``: its program, its page, and a payload that stands in for a real program's bulk.

The payload is incompressible and never repeats itself. It is the same for the same ``payload.json``, and a block whose
number is listed under ``changed`` differs, so that a commit changes as much or as little of it as it likes.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

BLOCK_BYTES = 1 << 20
FILE_BLOCKS = 256


def block(seed: str, number: int, version: int, size: int) -> bytes:
    return hashlib.shake_128(f"{seed}/{number}/{version}".encode()).digest(size)


def write_payload(directory: Path, seed: str, total_bytes: int, changed: dict[str, int]) -> None:
    """Files of at most ``FILE_BLOCKS`` blocks each, ``total_bytes`` in all."""
    directory.mkdir()
    blocks = -(-total_bytes // BLOCK_BYTES)
    for first in range(0, blocks, FILE_BLOCKS):
        with open(directory / f"{first // FILE_BLOCKS:04}.bin", "wb") as out:
            for number in range(first, min(first + FILE_BLOCKS, blocks)):
                size = min(BLOCK_BYTES, total_bytes - number * BLOCK_BYTES)
                out.write(block(seed, number, changed.get(str(number), 0), size))


def main() -> None:
    dist = Path("dist")
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir()
    for name in ("server.py", "check.py", "page.html"):
        shutil.copyfile(name, dist / name)
    payload = json.loads(Path("payload.json").read_text())
    write_payload(dist / "payload", payload["seed"], payload["bytes"], payload["changed"])
    print(f"built {sum(path.stat().st_size for path in dist.rglob('*') if path.is_file()):,} bytes in {os.fspath(dist)}")


if __name__ == "__main__":
    main()
