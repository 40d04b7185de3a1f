"""What a test sees of the uploads into a bucket that is a directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def open_uploads(bucket: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """The key of each, and the size of each part that has come. One that is just being begun or ended is left out."""
    for record in (bucket / "uploads").glob("*.parts"):
        lines: list[str] = []
        with suppress(FileNotFoundError):
            lines = record.read_text().splitlines()
        if lines:
            parts = (line.split() for line in lines[1:] if line.strip())
            yield lines[0].split()[-1], {part[0]: int(part[1]) for part in parts}
