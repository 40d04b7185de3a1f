"""``python -m bench.delta``: see ``--help``."""

from __future__ import annotations

from collections.abc import Sequence

from bench import program
from bench.delta import asked, over_loopback


def main(arguments: Sequence[str]) -> int:
    """Returns an exit code. Raises :class:`LabError`."""
    wanted = asked.parse(arguments)
    return program.finish(
        asked.command(wanted), wanted, {**program.sizes(wanted), **over_loopback.measure(wanted, program.teller())}
    )


if __name__ == "__main__":
    program.run("bench.delta", main)
