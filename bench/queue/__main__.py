"""``python -m bench.queue``: see ``--help``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import program
from bench.queue import asked, figures


def main(arguments: Sequence[str]) -> int:
    """Returns an exit code. Raises :class:`LabError`."""
    wanted = asked.parse(arguments)
    with tempfile.TemporaryDirectory(prefix="fleetcast-queue-", dir=wanted.directory) as directory:
        told = figures.measure(wanted, Path(directory), program.teller())
    return program.finish(asked.command(wanted), wanted, told)


if __name__ == "__main__":
    program.run("bench.queue", main)
