"""``python -m bench.goal``: see ``--help``."""

from __future__ import annotations

from collections.abc import Sequence

from bench import program
from bench.goal import asked, delivering


def main(arguments: Sequence[str]) -> int:
    """Returns an exit code. Raises :class:`LabError`."""
    wanted = asked.parse(arguments)
    return program.finish(asked.command(wanted), wanted, delivering.measure(wanted, program.teller()))


if __name__ == "__main__":
    program.run("bench.goal", main)
