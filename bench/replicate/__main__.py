"""``python -m bench.replicate``: see ``--help``."""

from __future__ import annotations

from collections.abc import Sequence

from bench import program
from bench.replicate import asked, copying


def main(arguments: Sequence[str]) -> int:
    """Returns an exit code. Raises :class:`LabError`."""
    wanted = asked.parse(arguments)
    return program.finish(asked.command(wanted), wanted, copying.measure(wanted, program.teller()))


if __name__ == "__main__":
    program.run("bench.replicate", main)
